/**
 * nanoVLM's modality projector: pixel shuffle, then one linear layer into the decoder's width.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { pixelShuffle } from "../ops/layouts.ts";
import type { VLMConfig } from "../vlm_config.ts";
import { type ForwardContext, linearLayer } from "./linear_layer.ts";

/**
 * @param context the model's tensors
 * @param config the model's dims
 * @param features [N, P, C_vit]
 * @returns [N, P / s², C_lm] with s = `mp_pixel_shuffle_factor`
 */
export function modalityProjector(
  context: ForwardContext,
  config: VLMConfig,
  features: tf.Tensor3D,
): tf.Tensor3D {
  const shuffled = pixelShuffle(features, config.mp_pixel_shuffle_factor); // [N, P/s², C_vit·s²]
  return linearLayer(context, "MP.proj", shuffled) as tf.Tensor3D; // [N, P/s², C_lm]
}
