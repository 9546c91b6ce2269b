/**
 * Entropies behind the language-model head on the wasm heap.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { PackedWeight, type Weight } from "../../half/packed_weight.ts";
import type { HalfFormat } from "../../half/precision.ts";
import { roundingCode } from "../round_half.ts";
import { launch } from "../runtime/launch.ts";
import type { KernelModule } from "../runtime/kernel_module.ts";
import { formatCode } from "./packed.ts";

// N rows, C channels, V vocabulary

/** No token: the kernel computes log-probabilities of targets too, and these have none. */
const NO_TARGET = -1;

/** Entropies: hidden [N, C], head [V, C] → [N]. `format`: what logits are rounded to. No gradient. */
export function headEntropy(
  module: KernelModule,
  hidden: tf.Tensor2D,
  weight: Weight,
  temperature: number,
  format: HalfFormat | null,
): tf.Tensor1D {
  const [N, C] = hidden.shape;
  const V = weight.shape[0];
  const head = weight instanceof PackedWeight ? weight.words : weight;
  const code = formatCode(weight);
  return launch(module, {
    name: "NanoHeadEntropy",
    inputs: { hidden, head },
    run: (l) => {
      const [entropies, logProbs, lse] = [l.output([N]), l.output([N]), l.output([N])];
      const scratch = module.scratch(module.kernel("nano_head_scratch_floats")(code, C));
      l.withIntegers([new Int32Array(N).fill(NO_TARGET)], ([ids]) =>
        // deno-fmt-ignore
        module.kernel("nano_head_log_probs")(
          N, C, V, l.address(hidden), code, l.address(head), ids, 1 / temperature,
          l.address(logProbs), l.address(lse), l.address(entropies), roundingCode(format), scratch,
        ));
      return [entropies, logProbs, lse];
    },
  });
}
