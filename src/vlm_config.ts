/**
 * nanoVLM's `VLMConfig`, key for key, as `config.json` holds it.
 *
 * @module
 */

/**
 * The architecture of one nanoVLM. Names and defaults are those of `models/config.py` in
 * huggingface/nanoVLM; the keys are snake_case because the file on disk is.
 */
export interface NanoVLMConfig {
  vit_hidden_dim: number;
  vit_inter_dim: number;
  vit_patch_size: number;
  vit_img_size: number;
  vit_n_heads: number;
  vit_dropout: number;
  vit_n_blocks: number;
  vit_ln_eps: number;
  vit_cls_flag: boolean;
  vit_model_type: string;
  lm_hidden_dim: number;
  lm_inter_dim: number;
  lm_rms_eps: number;
  lm_re_base: number;
  lm_max_position_embeddings: number;
  lm_base_vocab_size: number;
  extra_token_amount: number;
  lm_vocab_size: number;
  lm_n_heads: number;
  lm_n_kv_heads: number;
  lm_dropout: number;
  lm_n_blocks: number;
  lm_attn_scaling: number;
  lm_max_length: number;
  lm_use_tokens: boolean;
  lm_tie_weights: boolean;
  lm_model_type: string;
  lm_tokenizer: string;
  lm_chat_template: string;
  mp_pixel_shuffle_factor: number;
  mp_image_token_length: number;
  max_img_size: number;
  resize_to_max_side_len: boolean;
  /** Special tokens by role: `image_token`, `global_image_token`, `r1c1` … `r8c8`. */
  vlm_extra_tokens: Record<string, string>;
  vlm_load_backbone_weights: boolean;
  vlm_checkpoint_path: string;
  hf_repo_name: string;
}

/** A model's architecture: nanoVLM's keys, and what other model families need beside them. */
export interface VLMConfig extends NanoVLMConfig {
  /** Family of the folder, by config.json's `model_type`; absent: nanoVLM. */
  model_type?: string;
  /** The family's own config.json, if it is not nanoVLM's; keys unknown here survive saving. */
  family_config?: Readonly<Record<string, unknown>>;
  /** Whether q, k and v of the vision encoder are three layers, not one `qkv_proj`. */
  vit_separate_qkv?: boolean;
  /** Row of the position table of each patch; absent: its own. */
  vit_position_ids?: readonly number[];
  /** Whether rotary frequencies stay as they are beyond `lm_max_position_embeddings`. */
  lm_fixed_rope?: boolean;
}

/** The ChatML template that nanoVLM gives its tokenizer. */
export const DEFAULT_CHAT_TEMPLATE =
  "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/**
 * The 66 extra tokens of nanoVLM, by role, in the order in which they get their ids:
 * the image token, the global-image token, then `<row_R_col_C>` row by row.
 */
export function defaultExtraTokens(): Record<string, string> {
  const tokens: Record<string, string> = {
    image_token: "<|image|>",
    global_image_token: "<|global_image|>",
  };
  for (let row = 1; row <= 8; row++) {
    for (let col = 1; col <= 8; col++) tokens[`r${row}c${col}`] = `<row_${row}_col_${col}>`;
  }
  return tokens;
}

/** nanoVLM's defaults (SigLIP2-base at 512 px, SmolLM2-360M). */
export function defaultVLMConfig(): VLMConfig {
  return {
    vit_hidden_dim: 768,
    vit_inter_dim: 3072,
    vit_patch_size: 16,
    vit_img_size: 512,
    vit_n_heads: 12,
    vit_dropout: 0,
    vit_n_blocks: 12,
    vit_ln_eps: 1e-6,
    vit_cls_flag: false,
    vit_model_type: "google/siglip2-base-patch16-512",
    lm_hidden_dim: 960,
    lm_inter_dim: 2560,
    lm_rms_eps: 1e-5,
    lm_re_base: 100000,
    lm_max_position_embeddings: 8192,
    lm_base_vocab_size: 49152,
    extra_token_amount: 66,
    lm_vocab_size: 49218,
    lm_n_heads: 15,
    lm_n_kv_heads: 5,
    lm_dropout: 0,
    lm_n_blocks: 32,
    lm_attn_scaling: 1,
    lm_max_length: 4096,
    lm_use_tokens: false,
    lm_tie_weights: true,
    lm_model_type: "HuggingFaceTB/SmolLM2-360M-Instruct",
    lm_tokenizer: "HuggingFaceTB/SmolLM2-360M-Instruct",
    lm_chat_template: DEFAULT_CHAT_TEMPLATE,
    mp_pixel_shuffle_factor: 4,
    mp_image_token_length: 64,
    max_img_size: 2048,
    resize_to_max_side_len: true,
    vlm_extra_tokens: defaultExtraTokens(),
    vlm_load_backbone_weights: true,
    vlm_checkpoint_path: "checkpoints",
    hf_repo_name: "nanoVLM",
  };
}

/**
 * The image tokens of a tile: (`vit_img_size` / `vit_patch_size` / `mp_pixel_shuffle_factor`)².
 *
 * @param given some keys of a config; the others are nanoVLM's
 * @returns null if the sizes do not divide
 */
export function imageTokensOf(given: Partial<NanoVLMConfig>): number | null {
  const { vit_img_size, vit_patch_size, mp_pixel_shuffle_factor } = {
    ...defaultVLMConfig(),
    ...given,
  };
  const side = Math.floor(vit_img_size / vit_patch_size);
  return side % mp_pixel_shuffle_factor === 0 ? (side / mp_pixel_shuffle_factor) ** 2 : null;
}
