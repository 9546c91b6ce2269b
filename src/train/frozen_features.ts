import * as tf from "@tensorflow/tfjs";
import type { ModelBatch } from "../model/batch.ts";
import type { VisionLanguageModel } from "../generate/vision_language_model.ts";

/**
 * A batch's image features from outside the tape, where no pass needs others.
 *
 * @param changing names of what trains, or differs between passes over the batch
 * @returns [N, P, C_vit], the caller's to free; undefined where there are no pictures, or where
 *   `changing` names something of the vision encoder
 */
export function frozenFeatures(
  model: VisionLanguageModel,
  { images }: ModelBatch,
  changing: Iterable<string>,
): tf.Tensor3D | undefined {
  if (images === null || [...changing].some((name) => name.includes("vision_encoder."))) return;
  return tf.tidy(() => model.imageFeatures(images));
}
