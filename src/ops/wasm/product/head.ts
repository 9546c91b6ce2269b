/**
 * The language-model head and the log-probabilities of given tokens on the wasm heap.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import type { GradientSums } from "../../tape/fused_op.ts";
import { PackedWeight, type Weight } from "../../half/packed_weight.ts";
import type { RoundedHead } from "../../kernels.ts";
import { roundingCode } from "../round_half.ts";
import { launch, launchAll, pairedGradients, wantsGradient } from "../runtime/launch.ts";
import type { KernelModule } from "../runtime/kernel_module.ts";
import { formatCode } from "./packed.ts";

// N rows, C channels, V vocabulary

/** log p(targets): hidden [N, C], head [V, C], targets [N] → [N]. A packed head has no gradient. */
export function headLogProbs(
  module: KernelModule,
  hidden: tf.Tensor2D,
  weight: Weight,
  targets: Int32Array,
  temperature: number,
  rounded?: RoundedHead,
): tf.Tensor1D {
  const [N, C] = hidden.shape;
  const V = weight.shape[0];
  const format = formatCode(weight);
  const head = weight instanceof PackedWeight ? weight.words : weight;
  const scratchFloats = module.call("nano_head_scratch_floats", { format, C });
  const headIsTrained = rounded?.headIsTrained ?? wantsGradient(head);
  const rounding = roundingCode(rounded?.format ?? null);
  return launch(module, {
    name: "NanoHeadLogProbs",
    inputs: { hidden, head },
    saveInputs: ["hidden", "head"],
    saveOutputs: [false, true],
    run: (l) => {
      const logProbs = l.output([N]);
      const lse = l.output([N]);
      const scratch = module.scratch(scratchFloats);
      l.withIntegers([targets], ([ids]) =>
        module.call("nano_head_log_probs", {
          ...{ N, C, V, hidden: l.address(hidden), format, W: l.address(head), targets: ids },
          ...{ inverse_temperature: 1 / temperature, rounding, scratch },
          ...{ log_probs: l.address(logProbs), lse: l.address(lse), entropy: 0 },
        }));
      return [logProbs, lse];
    },
    gradient: (dy, [hidden, head, lse]) => {
      const compute = (
        wantsHidden: boolean,
        wantsHead: boolean,
        { head: sum }: GradientSums,
      ): tf.Tensor[] =>
        launchAll(module, {
          name: "NanoHeadBackward",
          inputs: { dy, hidden, head, lse },
          run: (l) => {
            const outputs: tf.TensorInfo[] = [];
            if (wantsHidden) outputs.push(l.output([N, C]));
            if (wantsHead) outputs.push(l.target([V, C], sum));
            const adds = sum === undefined ? 0 : 1;
            const dHidden = wantsHidden ? l.address(outputs[0]) : 0;
            const dHead = wantsHead ? l.address(outputs[outputs.length - 1]) : 0;
            const scratch = module.scratch(scratchFloats);
            l.withIntegers([targets], ([ids]) =>
              module.call("nano_head_backward", {
                ...{ N, C, V, hidden: l.address(hidden), format, W: l.address(head), targets: ids },
                ...{ inverse_temperature: 1 / temperature, rounding, scratch },
                ...{ lse: l.address(lse), entropy: 0, d_log_probs: l.address(dy), d_entropy: 0 },
                ...{ d_hidden: dHidden, dW: dHead, accumulate: adds },
              }));
            return outputs;
          },
        });
      // The logits are computed again once for all gradients that are wanted.
      const [ofHidden, ofHead] = pairedGradients(compute, headIsTrained);
      return { hidden: ofHidden, head: ofHead };
    },
  });
}
