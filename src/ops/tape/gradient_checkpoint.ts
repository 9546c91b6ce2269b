/**
 * Gradient checkpointing (Chen et al., 2016): keeps only the inputs of a block and computes the rest
 * again in the backward pass.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { valueAndGradients } from "./backward.ts";
import { currentPrecision, withPrecision } from "../half/precision.ts";
import { withGradient } from "./with_gradient.ts";

/**
 * Runs `block` without keeping its intermediate tensors.
 *
 * @param block a pure function of its inputs and constants; run once in the forward pass and once
 *   more in the backward pass, when every other tensor of the forward pass may be freed
 * @param inputs all tensors that get a gradient, parameters included
 * @param constants other tensors that it reads
 * @returns the block's output
 */
export function gradientCheckpoint<T extends tf.Tensor>(
  block: (inputs: tf.Tensor[], constants: tf.Tensor[]) => T,
  inputs: tf.Tensor[],
  constants: tf.Tensor[] = [],
): T {
  // Frozen weights need no gradient. tfjs asks for all gradients, so they get a placeholder.
  const trained = inputs.map((input) => !(input instanceof tf.Variable) || input.trainable);
  const precision = currentPrecision();
  return withGradient<T>(inputs, (save) => {
    const value = block(inputs, constants);
    save([...inputs, ...constants]);
    return {
      value,
      gradient: (dy, kept) => {
        const saved = kept.slice(0, inputs.length), keptConstants = kept.slice(inputs.length);
        const wanted = saved.filter((_, i) => trained[i]);
        const { value, gradients } = valueAndGradients(
          () => withPrecision(precision, () => block(saved, keptConstants)),
          wanted,
          dy,
        );
        value.dispose();
        return saved.map((input, i) =>
          (trained[i] ? gradients.shift() : tf.scalar(0)) ?? tf.zerosLike(input)
        );
      },
    };
  });
}
