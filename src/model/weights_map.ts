/**
 * A model's tensors on the device, by nanoVLM's names, and its adapters.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import type { PackedWeight, Weight } from "../ops/half/packed_weight.ts";

/** A LoRA or DoRA adapter of one linear layer (Hu et al., 2021; Liu et al., 2024). */
export interface Adapter {
  /** [r, in] */
  loraA: tf.Tensor;
  /** [out, r] */
  loraB: tf.Tensor;
  /** DoRA's magnitudes [out]; null for LoRA. */
  magnitude: tf.Tensor | null;
  /** lora_alpha / r, or / √r with rsLoRA. */
  scaling: number;
  /** Probability of dropping an input of the LoRA branch while training. */
  dropout: number;
}

/** What a forward pass reads: weights by name, adapters by the name of their layer. */
export interface ModelTensors {
  /** For example `decoder.blocks.0.attn.q_proj.weight`. */
  weights: ReadonlyMap<string, tf.Tensor>;
  /** Frozen matrices in 16 bits, by the same names; none of them is in `weights`. */
  packed: ReadonlyMap<string, PackedWeight>;
  /** For example `decoder.blocks.0.attn.q_proj`. */
  adapters: ReadonlyMap<string, Adapter>;
}

/**
 * The tensor of that name.
 *
 * @throws {Error} if the model has none
 */
export function weight(tensors: ModelTensors, name: string): tf.Tensor {
  const tensor = tensors.weights.get(name);
  if (!tensor) throw new Error(`Cannot run the model: it has no tensor named ${name}`);
  return tensor;
}

/**
 * The matrix of that name, in float32 or packed.
 *
 * @throws {Error} if the model has none
 */
export function matrix(tensors: ModelTensors, name: string): Weight {
  return tensors.packed.get(name) ?? weight(tensors, name);
}
