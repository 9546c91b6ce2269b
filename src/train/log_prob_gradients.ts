/**
 * Gradients of a loss that is a function of token log-probabilities on the host: the model goes
 * forward, the host turns log-probabilities into d loss / d log-prob, the model goes back.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../device/read_back.ts";
import { lossGradients, type Parameters } from "./gradients.ts";

/**
 * Log-probabilities with the gradients of a loss of them.
 *
 * Where values can be read at once (wasm, cpu) the model goes forward once; a GPU's values arrive
 * later, after the tape is gone, so that there the model goes forward twice.
 *
 * @param logProbs makes the log-probabilities [M]; the same values each time it is called
 * @param byLogProbs d loss / d log-prob, [M], given the values
 * @param parameters the tensors that get gradients
 * @param lossScale multiplied into the gradients (fp16)
 * @returns the values, and gradients that are the caller's to free
 */
export async function logProbGradients(
  logProbs: () => tf.Tensor1D,
  byLogProbs: (values: Float32Array) => Float32Array,
  parameters: Parameters,
  lossScale = 1,
): Promise<{ values: Float32Array; gradients: Map<string, tf.Tensor> }> {
  let values: Float32Array | null = null;
  let slopes: Float32Array | null = null;
  if (tf.getBackend() === "webgpu") {
    values = await readLogProbs(logProbs);
    slopes = byLogProbs(values);
  }
  const { loss, gradients } = lossGradients(
    () => {
      const x = logProbs(); // [M]
      values ??= Float32Array.from(x.dataSync());
      slopes ??= byLogProbs(values);
      return x.mul(tf.tensor1d(slopes)).sum();
    },
    parameters,
    lossScale,
  );
  loss.dispose();
  return { values: values!, gradients };
}

/** The values alone. */
export async function readLogProbs(logProbs: () => tf.Tensor1D): Promise<Float32Array> {
  const tensor = tf.tidy(logProbs);
  try {
    return (await readBack([tensor]))[0] as Float32Array;
  } finally {
    tensor.dispose();
  }
}
