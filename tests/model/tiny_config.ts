/** The smallest model with every part, for tests that look at files and names. */
import { defaultVLMConfig, type VLMConfig } from "../../src/vlm_config.ts";

/** Two blocks each; heads share keys, and a vocabulary that no kernel likes. */
export const tinyConfig: VLMConfig = {
  ...defaultVLMConfig(),
  vit_hidden_dim: 8,
  vit_inter_dim: 12,
  vit_patch_size: 4,
  vit_img_size: 16,
  vit_n_heads: 2,
  vit_n_blocks: 2,
  lm_hidden_dim: 16,
  lm_inter_dim: 20,
  lm_n_heads: 4,
  lm_n_kv_heads: 2,
  lm_n_blocks: 2,
  lm_vocab_size: 30,
  mp_pixel_shuffle_factor: 2,
  mp_image_token_length: 4,
};
