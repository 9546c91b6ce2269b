/**
 * Entropies of the language-model head's distributions on the wasm heap.
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

/** Entropies: hidden [N, C], head [V, C] → [N]. `format`: what logits are rounded to, if anything. No gradient. */
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
      const scratch = module.scratch(module.call("nano_head_scratch_floats", { format: code, C }));
      l.withIntegers(
        [new Int32Array(N).fill(NO_TARGET)],
        ([ids]) =>
          module.call("nano_head_log_probs", {
            ...{
              N,
              C,
              V,
              hidden: l.address(hidden),
              format: code,
              W: l.address(head),
              targets: ids,
            },
            ...{ inverse_temperature: 1 / temperature, rounding: roundingCode(format), scratch },
            log_probs: l.address(logProbs),
            lse: l.address(lse),
            entropy: l.address(entropies),
          }),
      );
      return [entropies, logProbs, lse];
    },
  });
}
