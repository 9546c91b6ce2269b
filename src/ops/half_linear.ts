/**
 * A fully connected layer of a 16-bit pass (`precision.ts`): R(R(x) R(W)ᵀ + R(b)), the sum in
 * float32. Keeps R(x) in 16 bits, once for all layers that read x, and W as it is, which it rounds
 * again on the way back.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { wantsGradient } from "./fused_op.ts";
import { fusedKernels } from "./fused_kernels.ts";
import { halfProduct } from "./half_product.ts";
import { withLazyGradients } from "./lazy_gradients.ts";
import { sharedPackedHalf } from "./pack_half.ts";
import { PACKED_FORMATS, PackedWeight, type Weight } from "./packed_weight.ts";
import type { HalfFormat } from "./precision.ts";
import { isRecording } from "./recording.ts";
import { roundHalf } from "./round_half.ts";
import { gpuKernels } from "./webgpu/kernels.ts";

// N rows, I input features, O output features

/** R(Σ R(dy)) over rows: [..., O] → [O]. */
function halfColumnSum(dy: tf.Tensor, format: HalfFormat): tf.Tensor {
  const onGpu = gpuKernels()?.columnSum(dy, format);
  if (onGpu) return onGpu;
  const O = dy.shape[dy.rank - 1];
  const rows = roundHalf(dy, format).reshape([-1, O]); // [N, O]
  return roundHalf(fusedKernels()?.columnSum(rows) ?? rows.sum(0), format);
}

/**
 * R(R(x) R(W)ᵀ + R(b)). Its gradients are R(R(dy) R(W)), R(R(dy)ᵀ R(x)) and R(Σ R(dy)), the first two
 * added to what there is of them where a kernel can.
 *
 * @param format to round to
 * @param x [..., I]
 * @param weight [O, I]
 * @param bias [O], if there is one
 * @returns [..., O]
 */
export function halfLinear(
  format: HalfFormat,
  x: tf.Tensor,
  weight: Weight,
  bias?: tf.Tensor,
): tf.Tensor {
  const [O, I] = weight.shape;
  const { shape } = x;
  const tensor = weight instanceof PackedWeight ? null : weight;
  const words = tensor !== null && wantsGradient(tensor) && isRecording()
    ? sharedPackedHalf(x, format)
    : null;
  const packed = (words: tf.Tensor) => ({ words, format: PACKED_FORMATS[format], shape });
  return withLazyGradients({
    inputs: { x, ...(tensor ? { weight: tensor } : {}), ...(bias ? { bias } : {}) },
    save: [...(tensor ? [tensor] : []), ...(words ? [words] : [])],
    forward: () => {
      const a = words ? packed(words) : x;
      return halfProduct(format, {
        ...{ kind: "nt", a, b: weight, bias },
        shape: [...shape.slice(0, -1), O],
      });
    },
    gradient: (dy, saved) => ({
      x: (sums) => {
        const b = tensor ? saved[0] : weight;
        return halfProduct(format, { kind: "nn", a: dy, b, shape }, sums?.x); // [..., I]
      },
      weight: (sums) => {
        const b = packed(saved[1]);
        return halfProduct(format, { kind: "tn", a: dy, b, shape: [O, I] }, sums?.weight);
      },
      bias: () => halfColumnSum(dy, format), // [O]
    }),
  });
}
