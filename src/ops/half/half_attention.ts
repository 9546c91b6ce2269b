/**
 * Attention of a 16-bit pass (`precision.ts`): queries, keys, values and the result are rounded;
 * scores, softmax and sums are float32. Queries, keys and values are kept in 16 bits; the backward
 * pass computes the result again from them.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { AttentionLayout } from "../attention/attention_layout.ts";
import { valueAndGradients } from "../tape/backward.ts";
import { type HalfFormat, withPrecision } from "./precision.ts";
import { keepHalf, keptNumbers } from "./pack_half.ts";
import { isRecording } from "../tape/recording.ts";
import { roundHalf } from "./round_half.ts";
import { fusedKernels } from "../fused_kernels.ts";
import { rope } from "../layouts.ts";
import type { Rotation } from "../attention/rotary_angles.ts";
import { withGradient } from "../tape/with_gradient.ts";

// B batch, T tokens (Tq queries, Tk keys), H query heads, K key/value heads, D head dim

/** Attention in float32. */
type Attention = (
  q: tf.Tensor4D,
  k: tf.Tensor4D,
  v: tf.Tensor4D,
  layout: AttentionLayout | null,
) => tf.Tensor3D;

/**
 * R(attention(R(q), R(k), R(v))). Gradients are written, each rounded.
 *
 * @param format to round to
 * @param q [B, Tq, H, D]
 * @param k [B, Tk, K, D]
 * @param v [B, Tk, K, D]
 * @param layout which keys each query sees; null: every query sees every key
 * @param how the op, which is called in float32, and what is rotated first, in float32
 * @returns [B, Tq, H·D]
 */
export function halfAttention(
  format: HalfFormat,
  q: tf.Tensor4D,
  k: tf.Tensor4D,
  v: tf.Tensor4D,
  layout: AttentionLayout | null,
  { attention, rotation }: { readonly attention: Attention; readonly rotation?: Rotation },
): tf.Tensor3D {
  const fused = fusedKernels()?.rounding?.attention(format, q, k, v, layout, rotation);
  if (fused) return fused;
  if (rotation !== undefined) {
    q = rope(q, rotation.angles);
    if (rotation.keys) k = rope(k, rotation.angles);
  }
  const run = (inputs: tf.Tensor[]) => {
    const [q, k, v] = inputs as tf.Tensor4D[];
    return withPrecision("float32", () => attention(q, k, v, layout));
  };
  const isKept = isRecording();
  const shapes = [q, k, v].map(({ shape }) => shape);
  return withGradient<tf.Tensor3D>([q, k, v], (save) => {
    if (isKept) save([q, k, v].map((x) => keepHalf(x, format)));
    return {
      value: roundHalf(run([q, k, v].map((x) => roundHalf(x, format))), format),
      gradient: (dy, saved) =>
        tf.tidy(() => {
          const inputs = saved.map((words, i) => keptNumbers(words, format, shapes[i]));
          const rounded = roundHalf(dy, format);
          const { value, gradients } = valueAndGradients(() => run(inputs), inputs, rounded);
          tf.dispose([value, rounded, ...inputs]);
          return (gradients as tf.Tensor[]).map((gradient) => {
            const result = roundHalf(gradient, format);
            gradient.dispose();
            return result;
          });
        }),
    };
  });
}
