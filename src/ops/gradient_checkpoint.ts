/**
 * Gradient checkpointing (Chen et al., 2016): keeps a block's inputs alone and computes the rest
 * again in the backward pass.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { withGradient } from "./with_gradient.ts";

/**
 * Runs `block` without keeping what it computes inside.
 *
 * @param block a pure function of its inputs; run once forward and once more on the way back
 * @param inputs everything that gets a gradient, parameters included
 * @returns the block's output
 */
export function gradientCheckpoint<T extends tf.Tensor>(
  block: (inputs: tf.Tensor[]) => T,
  inputs: tf.Tensor[],
): T {
  return withGradient<T>(inputs, (save) => {
    const value = block(inputs);
    save(inputs);
    return {
      value,
      gradient: (dy, saved) => tf.grads((...again: tf.Tensor[]) => block(again))(saved, dy),
    };
  });
}
