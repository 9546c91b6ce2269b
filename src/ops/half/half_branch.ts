/**
 * A fully connected layer with a LoRA branch in a 16-bit pass (`precision.ts`), on a backend whose
 * products round: R(y + s · side) with y = R(R(x) R(W)ᵀ + R(b)) and side = R(R(narrow) R(B)ᵀ).
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { sharedGradients } from "../tape/fused_op.ts";
import { halfLinearGradients, keptInput } from "./half_linear.ts";
import { withLazyGradients } from "../tape/lazy_gradients.ts";
import { keepHalf, keptMatrix } from "./pack_half.ts";
import { PackedWeight, type Weight } from "./packed_weight.ts";
import type { HalfFormat } from "./precision.ts";
import { isRecording } from "../tape/recording.ts";
import type { RoundingKernels } from "../kernels.ts";

// N rows, I input features, O output features, r rank

/** The second half of a LoRA branch. */
export interface NarrowBranch {
  /** The branch's input times Aᵀ, [..., r]. */
  readonly narrow: tf.Tensor;
  /** B, [O, r]. */
  readonly loraB: tf.Tensor;
  readonly scaling: number;
}

/**
 * The layer. With D = R(dy): its gradients by x, W and b are those of `halfLinear` of D; with
 * g = R(s · D), those by narrow and B are R(g R(B)) and R(gᵀ R(narrow)). Written, except those that
 * can be added to the sums so far.
 *
 * @param x [..., I]
 * @param weight [O, I]
 * @param bias [O], if there is one
 * @returns [..., O]
 */
export function halfBranchLinear(
  kernels: RoundingKernels,
  format: HalfFormat,
  x: tf.Tensor,
  weight: Weight,
  bias: tf.Tensor | undefined,
  { narrow, loraB, scaling }: NarrowBranch,
): tf.Tensor {
  const [O, r] = loraB.shape;
  const shape = [...x.shape.slice(0, -1), O];
  const narrowShape = narrow.shape;
  const base = keptInput(format, x, weight);
  const words = isRecording() ? keepHalf(narrow, format) : null;
  const tensor: tf.NamedTensorMap = weight instanceof PackedWeight ? {} : { weight };
  return withLazyGradients({
    inputs: { x, ...tensor, ...(bias && { bias }), narrow, loraB },
    save: words === null ? [] : [loraB, words, ...base.save],
    forward: () =>
      kernels.productWithSide(
        format,
        { kind: "nt", a: base.input, b: weight, bias, shape },
        { a: words === null ? narrow : keptMatrix(words, format, narrowShape), b: loraB, scaling },
      ),
    gradient: (dy, [loraB, words, ...saved]) => {
      const both = sharedGradients(() => {
        const scaled = kernels.storeScaled(dy, format, scaling);
        const a = keptMatrix(scaled, format, shape);
        const b = keptMatrix(words, format, narrowShape);
        const gradients = [
          kernels.product(format, { kind: "nn", a, b: loraB, shape: narrowShape }),
          kernels.product(format, { kind: "tn", a, b, shape: [O, r] }),
        ];
        scaled.dispose();
        return gradients;
      });
      return {
        ...halfLinearGradients(format, dy, { weight, bias, shape: base.shape }, saved),
        narrow: both(0),
        loraB: both(1),
      };
    },
  });
}
