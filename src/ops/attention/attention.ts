/**
 * Scaled dot-product attention with grouped queries, softmax(q kᵀ / √D + mask) v (Vaswani et al.,
 * 2017; Ainslie et al., 2023), over token-major tensors as the projections give them. Rotary
 * embedding (`../layouts.ts`) is part of it: kernels rotate queries and keys as they read them.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { attentionDims, type AttentionLayout } from "./attention_layout.ts";
import { halfAttention } from "../half/half_attention.ts";
import { halfFormat } from "../half/precision.ts";
import { fusedKernels } from "../fused_kernels.ts";
import { ropeComposite } from "../layouts.ts";
import type { Rotation } from "./rotary_angles.ts";

// B batch, T tokens (Tq queries, Tk keys), H query heads, K key/value heads, G = H / K, D head dim

/**
 * The plain composite: makes the [B, H, Tq, Tk] matrix. The heads of a group are stacked along the
 * queries, so that keys and values are never repeated.
 *
 * @param q [B, Tq, H, D]
 * @param k [B, Tk, K, D]
 * @param v [B, Tk, K, D]
 * @param layout which keys each query sees; null: every query sees every key
 * @param rotation rotates queries, and keys, by their positions
 * @returns [B, Tq, H·D]
 */
export function attentionComposite(
  q: tf.Tensor4D,
  k: tf.Tensor4D,
  v: tf.Tensor4D,
  layout: AttentionLayout | null,
  rotation?: Rotation,
): tf.Tensor3D {
  const dims = attentionDims(q, k, layout, rotation);
  if (rotation !== undefined) {
    q = ropeComposite(q, rotation.angles);
    if (rotation.keys) k = ropeComposite(k, rotation.angles);
  }
  if (layout !== null && layout.rowOffsets !== null) return attentionByRows(q, k, v, layout);
  const { B, Tq, Tk, H, K, D } = dims;
  const G = H / K;
  const queries = q.reshape([B, Tq, K, G, D]).transpose([0, 2, 3, 1, 4]).reshape([B, K, G * Tq, D]);
  const keys = k.transpose([0, 2, 1, 3]); // [B, K, Tk, D]
  const values = v.transpose([0, 2, 1, 3]); // [B, K, Tk, D]
  let scores = tf.matMul(queries, keys, false, true).mul(1 / Math.sqrt(D)); // [B, K, G·Tq, Tk]
  scores = scores.reshape([B, H, Tq, Tk]);
  if (layout) scores = scores.add(layout.mask()); // [B, H, Tq, Tk]
  const weights = tf.softmax(scores).reshape([B, K, G * Tq, Tk]);
  return tf.matMul(weights, values) // [B, K, G·Tq, D]
    .reshape([B, K, G, Tq, D]).transpose([0, 3, 1, 2, 4]).reshape([B, Tq, H * D]);
}

/** The composite for joined rows, one row at a time: q, k, v [1, N, …] → [1, N, H·D]. */
function attentionByRows(
  q: tf.Tensor4D,
  k: tf.Tensor4D,
  v: tf.Tensor4D,
  layout: AttentionLayout,
): tf.Tensor3D {
  const lengths = Array.from({ length: layout.batch }, (_, b) => layout.queriesOf(b));
  const [queries, keys, values] = [q, k, v].map((x) => tf.split<tf.Tensor4D>(x, lengths, 1));
  const rows = lengths.map((_, b) => {
    const own = layout.row(b);
    const attended = attentionComposite(queries[b], keys[b], values[b], own); // [1, T, H·D]
    own.dispose();
    return attended;
  });
  return tf.concat(rows, 1);
}

/**
 * Scaled dot-product attention with grouped queries. In a 16-bit pass queries and keys are rotated
 * in float32 first.
 *
 * @param q [B, Tq, H, D]
 * @param k [B, Tk, K, D], K a divisor of H
 * @param v [B, Tk, K, D]
 * @param layout which keys each query sees; null: every query sees every key
 * @param rotation rotates queries, and keys, by their positions
 * @returns [B, Tq, H·D]
 */
export function attention(
  q: tf.Tensor4D,
  k: tf.Tensor4D,
  v: tf.Tensor4D,
  layout: AttentionLayout | null,
  rotation?: Rotation,
): tf.Tensor3D {
  const half = halfFormat();
  if (half !== null) return halfAttention(half, q, k, v, layout, { attention, rotation });
  return fusedKernels()?.attention(q, k, v, layout, rotation) ??
    attentionComposite(q, k, v, layout, rotation);
}
