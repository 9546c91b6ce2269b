/**
 * Scaled dot-product attention with grouped queries, softmax(q kᵀ / √D + mask) v (Vaswani et al.,
 * 2017; Ainslie et al., 2023), over tokens-major tensors as the projections give them.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { AttentionLayout } from "./attention_layout.ts";
import { halfAttention } from "./half_attention.ts";
import { halfFormat } from "./precision.ts";
import { fusedKernels } from "./fused_kernels.ts";

// B batch, T tokens (Tq queries, Tk keys), H query heads, K key/value heads, G = H / K, D head dim

/**
 * The plain composite: makes the [B, H, Tq, Tk] matrix. The heads of a group are stacked along the
 * queries, so that keys and values are never repeated.
 *
 * @param q [B, Tq, H, D]
 * @param k [B, Tk, K, D]
 * @param v [B, Tk, K, D]
 * @param layout who sees whom; null: every query sees every key
 * @returns [B, Tq, H·D]
 */
export function attentionComposite(
  q: tf.Tensor4D,
  k: tf.Tensor4D,
  v: tf.Tensor4D,
  layout: AttentionLayout | null,
): tf.Tensor3D {
  const [B, Tq, H, D] = q.shape;
  const [, Tk, K] = k.shape;
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

/**
 * Scaled dot-product attention with grouped queries.
 *
 * @param q [B, Tq, H, D]
 * @param k [B, Tk, K, D], K a divisor of H
 * @param v [B, Tk, K, D]
 * @param layout who sees whom; null: every query sees every key
 * @returns [B, Tq, H·D]
 */
export function attention(
  q: tf.Tensor4D,
  k: tf.Tensor4D,
  v: tf.Tensor4D,
  layout: AttentionLayout | null,
): tf.Tensor3D {
  const half = halfFormat();
  if (half !== null) return halfAttention(half, q, k, v, layout, attention);
  return fusedKernels()?.attention(q, k, v, layout) ?? attentionComposite(q, k, v, layout);
}
