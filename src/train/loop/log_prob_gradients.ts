/**
 * Gradients of a loss that is a function of token log-probabilities on the host: the model goes
 * forward, the host turns log-probabilities into d loss / d log-prob, then comes the backward pass.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../../device/read_back.ts";
import type { ModelBatch } from "../../model/batch.ts";
import type { VisionLanguageModel } from "../../generate/vision_language_model.ts";
import type { GradientAccumulator, Parameters } from "./gradients.ts";

// M labelled tokens, C channels, N tiles, P patches of a tile

/**
 * Computes log-probabilities, and adds the gradients of a loss of them to those of the step.
 *
 * If values can be read synchronously (wasm, cpu), one forward pass is enough. The values of a GPU
 * arrive later, when the tape is gone, so that WebGPU needs a second forward pass.
 *
 * @param logProbs makes the log-probabilities [M]; the same values each time it is called
 * @param byLogProbs d loss / d log-prob, [M], given the values
 * @param parameters the tensors that get gradients
 * @param accumulator takes them
 * @param lossScale multiplied into the gradients (fp16)
 * @param further another term of the loss, computed on the tape after the log-probabilities
 * @returns the values
 */
export async function logProbGradients(
  logProbs: () => tf.Tensor1D,
  byLogProbs: (values: Float32Array) => Float32Array,
  parameters: Parameters,
  accumulator: GradientAccumulator,
  lossScale = 1,
  further?: () => tf.Scalar,
): Promise<Float32Array> {
  let values: Float32Array | null = null;
  let slopes: Float32Array | null = null;
  if (tf.getBackend() === "webgpu") {
    values = await readLogProbs(logProbs);
    slopes = byLogProbs(values);
  }
  const loss = await accumulator.addLoss(
    () => {
      const x = logProbs(); // [M]
      values ??= Float32Array.from(x.dataSync());
      slopes ??= byLogProbs(values);
      const sum = x.mul(tf.tensor1d(slopes)).sum<tf.Scalar>();
      return further === undefined ? sum : sum.add<tf.Scalar>(further());
    },
    parameters,
    lossScale,
  );
  loss.dispose();
  return values!;
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

/**
 * A batch's image features computed outside the tape, if every pass over the batch needs the same ones.
 *
 * @param changing names of what trains, or differs between passes over the batch
 * @returns [N, P, C_vit], or [N·L, C] if the model keeps what a frozen projector gives; the
 *   caller's to free; undefined if there are no pictures, or if `changing` names something of the
 *   vision encoder
 */
export function frozenFeatures(
  model: VisionLanguageModel,
  batch: ModelBatch,
  changing: Iterable<string>,
): tf.Tensor | undefined {
  const kept = model.keptFeatures(batch.pictures);
  if (kept !== undefined) return kept;
  if ([...changing].some((name) => name.includes("vision_encoder."))) return;
  const { images } = batch;
  return images === null ? undefined : tf.tidy(() => model.imageFeatures(images));
}

/** Keeps the states of a pass: those of the last one, if a batch goes through the model several times. */
export class LabelledStates {
  #states: tf.Tensor2D | null = null;

  /** For `PassOptions.observeLabelled`. */
  readonly observe = (states: tf.Tensor2D): void => {
    this.#states?.dispose();
    this.#states = tf.keep(states.clone());
  };

  /** The states, [M, C], which are the caller's from now on. */
  take(): tf.Tensor2D {
    const states = this.#states;
    if (states === null) throw new Error("Cannot take the states of a pass: there was none");
    this.#states = null;
    return states;
  }

  /** Frees what was kept and not taken, as when the backward pass fails. */
  dispose(): void {
    this.#states?.dispose();
    this.#states = null;
  }
}
