/**
 * Gradient checkpointing (Chen et al., 2016): keeps a block's inputs alone and computes the rest
 * again in the backward pass.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { valueAndGradients } from "./backward.ts";
import { currentPrecision, withPrecision } from "../half/precision.ts";
import { withGradient } from "./with_gradient.ts";

/**
 * Runs `block` without keeping what it computes inside.
 *
 * @param block a pure function of its inputs and constants; run once forward and once more on the
 *   way back, when every other tensor of the pass may be gone
 * @param inputs everything that gets a gradient, parameters included
 * @param constants what else it needs
 * @returns the block's output
 */
export function gradientCheckpoint<T extends tf.Tensor>(
  block: (inputs: tf.Tensor[], constants: tf.Tensor[]) => T,
  inputs: tf.Tensor[],
  constants: tf.Tensor[] = [],
): T {
  // Weights that are not trained need no gradient; tfjs asks for all, so they get a stand-in.
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
