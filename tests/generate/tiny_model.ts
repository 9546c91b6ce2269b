/** A small model with sharp opinions, for tests of generation. */
import type { ImageTiles } from "../../src/model/batch.ts";
import { defaultVLMConfig, type VLMConfig } from "../../src/vlm_config.ts";
import { initializeWeights } from "../../src/model/initialize.ts";
import { VisionLanguageModel } from "../../src/generate/vision_language_model.ts";
import { RandomStream } from "../../src/random.ts";

/** Id of the image token. */
export const IMAGE = 60;

/** Dims that are awkward on purpose: three heads a group, a vocabulary that is no multiple of 4. */
export const tinyConfig: VLMConfig = {
  ...defaultVLMConfig(),
  vit_hidden_dim: 16,
  vit_inter_dim: 32,
  vit_patch_size: 8,
  vit_img_size: 16,
  vit_n_heads: 2,
  vit_n_blocks: 1,
  lm_hidden_dim: 24,
  lm_inter_dim: 40,
  lm_n_heads: 6,
  lm_n_kv_heads: 2,
  lm_n_blocks: 2,
  lm_vocab_size: 63,
  lm_base_vocab_size: IMAGE,
  mp_pixel_shuffle_factor: 1,
  mp_image_token_length: 4,
};

/** Weights of which each token depends on all that came before, not on the last one alone. */
export function tinyModel(config: VLMConfig = tinyConfig): VisionLanguageModel {
  const weights = [...initializeWeights(config, 7, { initPositionEmbedding: "normal" })]
    .map(([name, tensor]): [string, typeof tensor] => {
      const factor = name.includes("norm") ? 1 : name.includes("head") ? 20 : 10;
      return [name, { ...tensor, data: tensor.data.map((value) => value * factor) }];
    });
  return new VisionLanguageModel(config, weights, IMAGE);
}

/** A picture of one tile. */
export function picture(seed: number): ImageTiles {
  const random = new RandomStream(seed, "picture");
  return {
    tiles: Float32Array.from({ length: 3 * 16 * 16 }, () => random.nextFloat()),
    tileCount: 1,
  };
}

/** A prompt of given length, optionally with the tokens of one picture. */
export function prompt(seed: number, length: number, withPicture: boolean): number[] {
  const random = new RandomStream(seed, "prompt");
  const text = Array.from({ length }, () => random.nextInt(IMAGE));
  return withPicture ? [1, IMAGE, IMAGE, IMAGE, IMAGE, ...text] : [1, ...text];
}
