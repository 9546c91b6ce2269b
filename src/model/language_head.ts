/**
 * The language-model head: hidden states to logits, with the head's adapter if it has one.
 *
 * The head is tied to the token embedding in most models. An adapter changes the head alone, as in
 * PEFT: embeddings are those of the base weight.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { dropout } from "../ops/activations.ts";
import { linear } from "../ops/linear.ts";
import { PackedWeight, type Weight } from "../ops/half/packed_weight.ts";
import { unpackWeight } from "../ops/half/unpack_weight.ts";
import { type ForwardContext, linearLayer, mergedRowNorms } from "./linear_layer.ts";
import { matrix } from "./weights_map.ts";

// N rows, C channels, V vocabulary, r rank, K inner size of the product

/** Name of the head's layer. */
export const HEAD = "decoder.head";

/**
 * Logits of hidden states.
 *
 * @param context the model's tensors
 * @param hidden [..., C], after the final norm
 * @returns [..., V]
 */
export function headLogits(context: ForwardContext, hidden: tf.Tensor): tf.Tensor {
  return linearLayer(context, HEAD, hidden);
}

/** Two matrices whose product is the logits. */
export interface HeadOperands {
  /** [N, K] */
  hidden: tf.Tensor2D;
  /** [V, K] */
  head: Weight;
}

/**
 * Matrices whose product hidden · headᵀ is the logits, for ops that never store the logits.
 *
 * Without an adapter they are the hidden states and the weight. LoRA's branch becomes more columns:
 * h Wᵀ + s (x Aᵀ) Bᵀ = [h, s x Aᵀ] [W, B]ᵀ, where x is h, or h with dropout. DoRA scales the rows by
 * m / n, and with dropout is [h, x, s x Aᵀ] [W, (m/n − 1) W, (m/n) B]ᵀ (see `linear_layer.ts`).
 *
 * @param context the model's tensors
 * @param hidden [N, C], after the final norm
 */
export function headOperands(context: ForwardContext, hidden: tf.Tensor2D): HeadOperands {
  const base = matrix(context, `${HEAD}.weight`);
  const adapter = context.adapters.get(HEAD);
  if (adapter === undefined) return { hidden, head: base };
  const { loraA, loraB, scaling, magnitude } = adapter;
  const key = adapter.dropout > 0 ? context.dropoutKeys?.next() : undefined;
  const input = key === undefined ? hidden : dropout(hidden, adapter.dropout, key); // [N, C]
  const inner = linear(input, loraA).mul(scaling); // [N, r]
  const W = base instanceof PackedWeight ? unpackWeight(base) : base; // [V, C]
  if (magnitude === null) {
    return { hidden: columns(hidden, inner), head: columns(W, loraB) }; // K = C + r
  }
  const ratio = magnitude.div(mergedRowNorms(adapter, base)).expandDims(1); // [V, 1]
  if (key === undefined) {
    return { hidden: columns(hidden, inner), head: columns(W, loraB).mul(ratio) };
  }
  return {
    hidden: columns(hidden, input, inner),
    head: columns(W, W.mul(ratio.sub(1)), loraB.mul(ratio)), // K = 2 C + r
  };
}

/** Matrices of the same rows side by side. */
function columns(...parts: tf.Tensor[]): tf.Tensor2D {
  return tf.concat(parts, 1) as tf.Tensor2D;
}
