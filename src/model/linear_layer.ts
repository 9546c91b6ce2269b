/**
 * A linear layer by its name, with its adapter if it has one.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { dropout, type DropoutKeys, gelu } from "../ops/activations.ts";
import { linear } from "../ops/linear.ts";
import { halfFormat } from "../ops/half/precision.ts";
import { castHalf } from "../ops/half/round_half.ts";
import { PackedWeight, type Weight } from "../ops/half/packed_weight.ts";
import { add, scale } from "../ops/arithmetic.ts";
import { unpackWeight } from "../ops/half/unpack_weight.ts";
import { type Adapter, matrix, type ModelTensors } from "./weights_map.ts";

/** What every part of the model reads besides its input. */
export interface ForwardContext extends ModelTensors {
  /** Keys for dropout while training; null: no dropout. */
  dropoutKeys: DropoutKeys | null;
  /** Whether to recompute blocks in the backward pass instead of keeping their activations. */
  checkpointing: boolean;
}

/**
 * Row norms of W + scaling · B A, without a gradient, as in PEFT's DoraLinearLayer.
 *
 * @param base W, [out, in]
 * @returns [out]
 */
export function mergedRowNorms({ loraA, loraB, scaling }: Adapter, base: Weight): tf.Tensor {
  return tf.customGrad((...inputs: (tf.Tensor | tf.GradSaveFunc)[]) => {
    const [A, B] = inputs as [tf.Tensor2D, tf.Tensor2D];
    const own = base instanceof PackedWeight ? unpackWeight(base) : base; // [out, in]
    const merged = own.add(tf.matMul(B, A).mul(scaling)); // [out, in]
    return {
      value: merged.square().sum(1).sqrt(), // [out]
      gradFunc: () => [tf.zerosLike(A), tf.zerosLike(B)],
    };
  })(loraA, loraB);
}

/**
 * DoRA: (m / n) (y + scaling · (x Aᵀ) Bᵀ), with n the row norms of W + scaling · B A
 * ({@linkcode mergedRowNorms}).
 *
 * @param dropped input of the LoRA branch if dropout is on
 */
function decompose(
  adapter: Adapter,
  magnitude: tf.Tensor,
  x: tf.Tensor,
  dropped: tf.Tensor | undefined,
  base: Weight,
  bias: tf.Tensor | undefined,
): tf.Tensor {
  const { loraA, loraB, scaling } = adapter;
  const y = linear(x, base, bias); // [..., out]
  const side = scale(linear(linear(dropped ?? x, loraA), loraB), scaling); // [..., out]
  const ratio = magnitude.div(mergedRowNorms(adapter, base)); // [out]
  if (dropped === undefined) {
    const plain = bias ? y.sub(bias) : y;
    const scaled = plain.add(side).mul(ratio); // [..., out]
    return bias ? scaled.add(bias) : scaled;
  }
  // With dropout on, PEFT also drops inputs of the base weight's product.
  const own = linear(dropped, base); // [..., out]
  return y.add(ratio.sub(1).mul(own)).add(ratio.mul(side));
}

/**
 * The layer `name`: its weight, its bias and its adapter if it has them.
 *
 * @param context the model's tensors
 * @param name for example `decoder.blocks.0.mlp.up_proj`
 * @param x [..., in]
 * @param then what is done to the result: an activation; a residual [..., out] that is added last
 * @returns [..., out]
 */
export function linearLayer(
  context: ForwardContext,
  name: string,
  x: tf.Tensor,
  { activation, residual }: { activation?: "gelu"; residual?: tf.Tensor } = {},
): tf.Tensor {
  const base = matrix(context, `${name}.weight`);
  const bias = context.weights.get(`${name}.bias`);
  const activates = activation === "gelu";
  const adapter = context.adapters.get(name);
  if (adapter === undefined) return linear(x, base, bias, { gelu: activates, residual });
  const { magnitude } = adapter;
  const key = adapter.dropout > 0 ? context.dropoutKeys?.next() : undefined;
  const drop = key === undefined ? undefined : (x: tf.Tensor) => dropout(x, adapter.dropout, key);
  const dropped = drop?.(x);
  if (magnitude === null) {
    const branch = { ...adapter, input: dropped, remakeInput: drop };
    return linear(x, base, bias, { branch, gelu: activates, residual });
  }
  const y = castHalf(decompose(adapter, magnitude, x, dropped, base, bias), halfFormat());
  const z = activates ? gelu(y) : y;
  return residual === undefined ? z : add(residual, z);
}

/**
 * Names of the float32 tensors below `prefix`, weights first and then adapters, in a fixed order.
 *
 * @param context the model's tensors
 * @param prefix for example `decoder.blocks.0.`
 */
export function tensorsBelow(context: ModelTensors, prefix: string): tf.Tensor[] {
  const found: tf.Tensor[] = [];
  for (const [name, tensor] of context.weights) if (name.startsWith(prefix)) found.push(tensor);
  for (const [name, adapter] of context.adapters) {
    if (!name.startsWith(prefix)) continue;
    found.push(adapter.loraA, adapter.loraB);
    if (adapter.magnitude) found.push(adapter.magnitude);
  }
  return found;
}

/**
 * For a block that is run again in the backward pass: the first run draws dropout masks from the
 * context, and each later run draws the same masks.
 *
 * @returns the context of the next run
 */
export function repeatable(context: ForwardContext): () => ForwardContext {
  const start = context.dropoutKeys?.copy();
  let runs = 0;
  return () =>
    start === undefined || runs++ === 0 ? context : { ...context, dropoutKeys: start.copy() };
}

/**
 * The same context with the tensors below `prefix` replaced, in the order of
 * {@linkcode tensorsBelow}.
 *
 * @param context the model's tensors
 * @param prefix for example `decoder.blocks.0.`
 * @param tensors their replacements
 */
export function replaceBelow(
  context: ForwardContext,
  prefix: string,
  tensors: tf.Tensor[],
): ForwardContext {
  const next = tensors.values();
  const take = () => next.next().value as tf.Tensor;
  const weights = new Map<string, tf.Tensor>();
  for (const name of context.weights.keys()) if (name.startsWith(prefix)) weights.set(name, take());
  const adapters = new Map<string, Adapter>();
  for (const [name, adapter] of context.adapters) {
    if (!name.startsWith(prefix)) continue;
    const loraA = take(), loraB = take();
    adapters.set(name, { ...adapter, loraA, loraB, magnitude: adapter.magnitude ? take() : null });
  }
  return { ...context, weights, adapters };
}
