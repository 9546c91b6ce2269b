/** Gradients by finite differences. */
import { assert } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../../src/device/read_back.ts";
import { type Op, randomTensor } from "./random_tensor.ts";

/**
 * Compares the slope of Σ op · dy along one random direction of each input with what its gradient
 * says of it.
 */
export async function assertFiniteDifferences(
  op: Op,
  shapes: readonly number[][],
  { step = 1e-2, tolerance = 2e-3 } = {},
): Promise<void> {
  const inputs = shapes.map((shape, i) => randomTensor(shape, i + 1));
  for (let i = 0; i < inputs.length; i++) {
    const results = tf.tidy(() => {
      const direction = randomTensor(shapes[i], 77 + i);
      const at = (distance: number): tf.Tensor =>
        op(...inputs.map((x, j) => j === i ? x.add(direction.mul(distance)) : x));
      const dy = randomTensor(at(0).shape, 99);
      const gradient = tf.grads(op)(inputs, dy)[i];
      // The sums are over differences, so that they lose no digits.
      return [at(step).sub(at(-step)).mul(dy).sum(), gradient.mul(direction).sum()];
    });
    const [[difference], [slope]] = await readBack(results);
    tf.dispose(results);
    const found = difference / (2 * step);
    assert(
      Math.abs(found - slope) <= tolerance * (1 + Math.abs(slope)),
      `gradient ${i}: slope ${slope}, by differences ${found}`,
    );
  }
  tf.dispose(inputs);
}
