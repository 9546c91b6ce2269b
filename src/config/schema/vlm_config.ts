/**
 * The keys of `model.vlm_config`: nanoVLM's `VLMConfig`. A test holds the defaults written here, for
 * the documents, to those of `src/vlm_config.ts`.
 *
 * @module
 */
import { defaultVLMConfig, type NanoVLMConfig } from "../../vlm_config.ts";
import { NANOVLM } from "../sources.ts";
import { mapOf } from "../types/composite_types.ts";
import { boolean, integer, number, text } from "../types/scalar_types.ts";
import { derived, same, type Table } from "../types/value_type.ts";

/** The keys of `model.vlm_config`. */
export const vlmConfigKeys: Table<NanoVLMConfig> = {
  vit_hidden_dim: {
    type: integer({ min: 1 }),
    default: same(768),
    source: NANOVLM,
    meaning: "Width of the ViT.",
  },
  vit_inter_dim: {
    type: integer({ min: 1 }),
    default: same(3072),
    source: NANOVLM,
    meaning: "Width of the ViT's MLP.",
  },
  vit_patch_size: {
    type: integer({ min: 1 }),
    default: same(16),
    source: NANOVLM,
    meaning: "Side of a patch, in pixels.",
  },
  vit_img_size: {
    type: integer({ min: 1 }),
    default: same(512),
    source: NANOVLM,
    meaning: "Side of a tile, in pixels; a multiple of the patch.",
  },
  vit_n_heads: {
    type: integer({ min: 1 }),
    default: same(12),
    source: NANOVLM,
    meaning: "Attention heads of the ViT.",
  },
  vit_dropout: {
    type: number({ min: 0, below: 1 }),
    default: same(0),
    source: NANOVLM,
    meaning: "Dropout in the ViT while training.",
  },
  vit_n_blocks: {
    type: integer({ min: 1 }),
    default: same(12),
    source: NANOVLM,
    meaning: "Blocks of the ViT.",
  },
  vit_ln_eps: {
    type: number({ above: 0 }),
    default: same(1e-6),
    source: NANOVLM,
    meaning: "Epsilon of the ViT's layer norms.",
  },
  vit_cls_flag: {
    type: boolean(),
    default: same(false),
    source: NANOVLM,
    meaning: "Whether the ViT has a class token.",
  },
  vit_model_type: {
    type: text(),
    default: same("google/siglip2-base-patch16-512"),
    source: NANOVLM,
    meaning: "The vision backbone that `load_backbone` takes: folder or Hub id.",
  },
  lm_hidden_dim: {
    type: integer({ min: 1 }),
    default: same(960),
    source: NANOVLM,
    meaning: "Width of the decoder.",
  },
  lm_inter_dim: {
    type: integer({ min: 1 }),
    default: same(2560),
    source: NANOVLM,
    meaning: "Width of the decoder's SwiGLU.",
  },
  lm_rms_eps: {
    type: number({ above: 0 }),
    default: same(1e-5),
    source: NANOVLM,
    meaning: "Epsilon of the RMS norms.",
  },
  lm_re_base: {
    type: number({ above: 0 }),
    default: same(100000),
    source: NANOVLM,
    meaning: "Base of the rotary embedding.",
  },
  lm_max_position_embeddings: {
    type: integer({ min: 1 }),
    default: same(8192),
    source: NANOVLM,
    meaning: "Positions that the rotary embedding was trained for.",
  },
  lm_base_vocab_size: {
    type: integer({ min: 1 }),
    default: same(49152),
    source: NANOVLM,
    meaning: "Vocabulary of the backbone.",
  },
  extra_token_amount: {
    type: integer({ min: 0 }),
    default: same(66),
    source: NANOVLM,
    meaning: "Tokens added to it.",
  },
  lm_vocab_size: {
    type: integer({ min: 1 }),
    default: same(49218),
    source: NANOVLM,
    meaning: "The sum of the two.",
  },
  lm_n_heads: {
    type: integer({ min: 1 }),
    default: same(15),
    source: NANOVLM,
    meaning: "Query heads of the decoder.",
  },
  lm_n_kv_heads: {
    type: integer({ min: 1 }),
    default: same(5),
    source: NANOVLM,
    meaning: "Key and value heads; divides the query heads.",
  },
  lm_dropout: {
    type: number({ min: 0, below: 1 }),
    default: same(0),
    source: NANOVLM,
    meaning: "Dropout in the decoder while training.",
  },
  lm_n_blocks: {
    type: integer({ min: 1 }),
    default: same(32),
    source: NANOVLM,
    meaning: "Blocks of the decoder.",
  },
  lm_attn_scaling: {
    type: number({ above: 0 }),
    default: same(1),
    source: NANOVLM,
    meaning: "nanoVLM's factor on the attention scores of the rotary embedding.",
  },
  lm_max_length: {
    type: integer({ min: 1 }),
    default: same(4096),
    source: NANOVLM,
    meaning: "Longest row, in tokens.",
  },
  lm_use_tokens: {
    type: boolean(),
    default: same(false),
    source: NANOVLM,
    meaning: "nanoVLM's switch for a decoder used alone.",
  },
  lm_tie_weights: {
    type: boolean(),
    default: same(true),
    source: NANOVLM,
    meaning: "Whether the head shares the token embedding.",
  },
  lm_model_type: {
    type: text(),
    default: same("HuggingFaceTB/SmolLM2-360M-Instruct"),
    source: NANOVLM,
    meaning: "The language backbone that `load_backbone` takes: folder or Hub id.",
  },
  lm_tokenizer: {
    type: text(),
    default: same("HuggingFaceTB/SmolLM2-360M-Instruct"),
    source: NANOVLM,
    meaning: "The tokenizer: folder, Hub id or a built-in.",
  },
  lm_chat_template: {
    type: text(),
    default: derived("nanoVLM's", () => ""),
    source: NANOVLM,
    meaning: "The chat template (Jinja); by default ChatML.",
  },
  mp_pixel_shuffle_factor: {
    type: integer({ min: 1 }),
    default: same(4),
    source: NANOVLM,
    meaning: "Patches a side that become one image token.",
  },
  mp_image_token_length: {
    type: integer({ min: 1 }),
    default: derived(
      "(`vit_img_size` / `vit_patch_size` / `mp_pixel_shuffle_factor`)²",
      () => defaultVLMConfig().mp_image_token_length,
    ),
    source: `${NANOVLM} (64)`,
    meaning: "Image tokens a tile; leave it out, as it follows from the sizes.",
  },
  max_img_size: {
    type: integer({ min: 1 }),
    default: same(2048),
    source: NANOVLM,
    meaning: "Longest side of an image before tiling, in pixels.",
  },
  resize_to_max_side_len: {
    type: boolean(),
    default: same(true),
    source: NANOVLM,
    meaning: "Whether smaller images are enlarged to it.",
  },
  vlm_extra_tokens: {
    type: mapOf(text()),
    default: derived("nanoVLM's 66", () => ({})),
    source: NANOVLM,
    meaning:
      "Special tokens by role; by default `image_token`, `global_image_token`, `r1c1` … `r8c8`.",
  },
  vlm_load_backbone_weights: {
    type: boolean(),
    default: same(true),
    source: NANOVLM,
    meaning: "nanoVLM's own switch; `model.load_backbone` decides here.",
  },
  vlm_checkpoint_path: {
    type: text(),
    default: same("checkpoints"),
    source: NANOVLM,
    meaning: "Kept for nanoVLM's sake.",
  },
  hf_repo_name: {
    type: text(),
    default: same("nanoVLM"),
    source: NANOVLM,
    meaning: "Kept for nanoVLM's sake.",
  },
};
