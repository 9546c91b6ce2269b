/**
 * A SmolVLM folder of backbones: config.json, tokens, chat template and image settings beside the
 * converted weights.
 *
 * @module
 */
import { writeTextAtomically } from "../../../atomic_write.ts";
import { isJsonObject } from "../../../text/json_object.ts";
import type { Tokenizer } from "../../../text/tokenizer.ts";
import type { VLMConfig } from "../../../vlm_config.ts";
import type { BackboneFolder } from "../model_family.ts";
import { parseConfig } from "./config.ts";

/** Most rows and columns of tiles that the released tokenizers have tokens for. */
const MOST_TILES = 6;

/** The template of the released instruction models. */
export const CHAT_TEMPLATE =
  "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}{% if message['content'][0]['type'] == 'image' %}{{ ':' }}{% else %}{{ ': ' }}{% endif %}{% for line in message['content'] %}{% if line['type'] == 'text' %}{{ line['text'] }}{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}";

/** SmolVLM's special tokens, in the order of their ids in the released models. */
export function extraTokens(): Record<string, string> {
  const tokens: Record<string, string> = { global_image_token: "<global-img>" };
  for (let row = 1; row <= MOST_TILES; row++) {
    for (let column = 1; column <= MOST_TILES; column++) {
      tokens[`r${row}c${column}`] = `<row_${row}_col_${column}>`;
    }
  }
  tokens.fake_image_token = "<fake_token_around_image>";
  tokens.image_token = "<image>";
  tokens.end_of_utterance_token = "<end_of_utterance>";
  return tokens;
}

/** The keys of config.json for the dims of converted backbones. */
function configJson(config: VLMConfig, ids: { image: number; end: number; pad: number }) {
  return {
    architectures: ["SmolVLMForConditionalGeneration"],
    dtype: "float32",
    image_token_id: ids.image,
    model_type: "smolvlm",
    pad_token_id: ids.pad,
    scale_factor: config.mp_pixel_shuffle_factor,
    text_config: {
      attention_bias: false,
      attention_dropout: 0.0,
      eos_token_id: ids.end,
      head_dim: config.lm_hidden_dim / config.lm_n_heads,
      hidden_act: "silu",
      hidden_size: config.lm_hidden_dim,
      intermediate_size: config.lm_inter_dim,
      max_position_embeddings: config.lm_max_position_embeddings,
      mlp_bias: false,
      model_type: "llama",
      num_attention_heads: config.lm_n_heads,
      num_hidden_layers: config.lm_n_blocks,
      num_key_value_heads: config.lm_n_kv_heads,
      pad_token_id: ids.pad,
      rms_norm_eps: config.lm_rms_eps,
      rope_theta: config.lm_re_base,
      tie_word_embeddings: config.lm_tie_weights,
      vocab_size: config.lm_vocab_size,
    },
    tie_word_embeddings: config.lm_tie_weights,
    vision_config: {
      attention_dropout: 0.0,
      hidden_act: "gelu_pytorch_tanh",
      hidden_size: config.vit_hidden_dim,
      image_size: config.vit_img_size,
      intermediate_size: config.vit_inter_dim,
      layer_norm_eps: config.vit_ln_eps,
      model_type: "smolvlm_vision",
      num_attention_heads: config.vit_n_heads,
      num_channels: 3,
      num_hidden_layers: config.vit_n_blocks,
      patch_size: config.vit_patch_size,
    },
  };
}

/** preprocessor_config.json and processor_config.json. */
function imageFiles(config: VLMConfig): Record<string, unknown> {
  const thirds = [0.5, 0.5, 0.5];
  return {
    "preprocessor_config.json": {
      do_convert_rgb: true,
      do_image_splitting: true,
      do_normalize: true,
      do_pad: true,
      do_rescale: true,
      do_resize: true,
      image_mean: thirds,
      image_processor_type: "SmolVLMImageProcessor",
      image_std: thirds,
      max_image_size: { longest_edge: config.vit_img_size },
      resample: 1,
      rescale_factor: 1 / 255,
      size: { longest_edge: Math.min(config.max_img_size, MOST_TILES * config.vit_img_size) },
    },
    "processor_config.json": {
      image_seq_len: config.mp_image_token_length,
      processor_class: "SmolVLMProcessor",
    },
  };
}

/**
 * The config and files of a SmolVLM made of backbones.
 *
 * @param converted their dims, in nanoVLM's keys
 * @param tokenizer with {@linkcode extraTokens}; null: the folder gets none
 */
export function fromBackbones(converted: VLMConfig, tokenizer: Tokenizer | null): BackboneFolder {
  const idOf = (token: string, otherwise: number) => tokenizer?.tokenToId(token) ?? otherwise;
  const last = converted.lm_vocab_size - 1;
  const ids = {
    image: idOf("<image>", last - 1),
    end: idOf("<end_of_utterance>", last),
    pad: idOf("<|im_end|>", last),
  };
  const config = parseConfig(configJson(converted, ids), "the config of the converted model");
  const files: Record<string, unknown> = {
    ...imageFiles(converted),
    "generation_config.json": { eos_token_id: ids.end, pad_token_id: ids.pad },
  };
  return {
    config,
    async writeFiles(folder) {
      if (tokenizer !== null) {
        await tokenizer.save(folder);
        const path = `${folder}/tokenizer_config.json`;
        const saved: unknown = JSON.parse(await Deno.readTextFile(path));
        const { chat_template: _, ...rest } = isJsonObject(saved) ? saved : {};
        files["tokenizer_config.json"] = {
          ...rest,
          eos_token: "<end_of_utterance>",
          pad_token: tokenizer.idToToken(ids.pad),
          extra_special_tokens: {},
          additional_special_tokens: Object.values(extraTokens()),
        };
        files["special_tokens_map.json"] = {
          eos_token: "<end_of_utterance>",
          pad_token: tokenizer.idToToken(ids.pad),
          additional_special_tokens: Object.values(extraTokens()),
        };
        await writeTextAtomically(`${folder}/chat_template.jinja`, CHAT_TEMPLATE);
      }
      for (const [name, value] of Object.entries(files)) {
        await writeTextAtomically(`${folder}/${name}`, JSON.stringify(value, null, 2) + "\n");
      }
    },
  };
}
