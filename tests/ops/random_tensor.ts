/** Inputs of ops under test. */
import * as tf from "@tensorflow/tfjs";
import { RandomStream } from "../../src/random.ts";

/** An op of tensors alone. */
export type Op = (...inputs: tf.Tensor[]) => tf.Tensor;

/** Values around `shift`, at most `scale` away; the same for the same seed. */
export function randomTensor(shape: number[], seed: number, scale = 1, shift = 0): tf.Tensor {
  const stream = new RandomStream(seed, "test");
  const size = shape.reduce((a, b) => a * b, 1);
  const values = Float32Array.from(
    { length: size },
    () => (stream.nextFloat() * 2 - 1) * scale + shift,
  );
  return tf.tensor(values, shape);
}
