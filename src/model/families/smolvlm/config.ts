/**
 * SmolVLM's config.json (`SmolVLMConfig` and `Idefics3Config` of Transformers) as a model's dims.
 *
 * @module
 */
import { defaultVLMConfig, type VLMConfig } from "../../../vlm_config.ts";
import { checkVLMConfig } from "../check_config.ts";
import type { ParseConfigOptions } from "../model_family.ts";
import { patchPositions } from "./patch_positions.ts";
import { ConfigReader } from "./config_reader.ts";

/** Transformers 5 has `rope_parameters`, 4 has `rope_theta` and `rope_scaling`. */
function ropeBase(text: ConfigReader): number {
  const parameters = text.object("rope_parameters");
  for (const scaling of [parameters, text.object("rope_scaling")]) {
    const type = scaling.values.rope_type ?? scaling.values.type ?? "default";
    if (type !== "default") {
      text.fail(
        `its rotary embeddings are scaled (${JSON.stringify(type)}), which is not supported`,
      );
    }
  }
  return "rope_theta" in parameters.values
    ? parameters.number("rope_theta", 10000)
    : text.number("rope_theta", 10000);
}

/** Makes a config from a parsed config.json, with Transformers' defaults for absent keys. */
export function parseConfig(
  json: Record<string, unknown>,
  source: string,
  options: ParseConfigOptions = {},
): VLMConfig {
  const whole = new ConfigReader(json, source);
  const text = whole.object("text_config");
  const vision = whole.object("vision_config");
  text.require("model_type", "llama");
  text.require("hidden_act", "silu");
  text.require("attention_bias", false);
  text.require("mlp_bias", false);
  vision.require("hidden_act", "gelu_pytorch_tanh");
  vision.require("num_channels", 3);
  const hidden = text.count("hidden_size", 4096);
  const heads = text.count("num_attention_heads", 32);
  text.require("head_dim", hidden / heads);
  const imageSize = vision.count("image_size", 224);
  const patch = vision.count("patch_size", 32);
  const scale = whole.count("scale_factor", 2);
  const vocabulary = text.count("vocab_size", 32000);
  const tied = whole.flag("tie_word_embeddings", false);
  const side = Math.floor(imageSize / patch);
  const config: VLMConfig = {
    ...defaultVLMConfig(),
    vit_hidden_dim: vision.count("hidden_size", 1152),
    vit_inter_dim: vision.count("intermediate_size", 3072),
    vit_patch_size: patch,
    vit_img_size: imageSize,
    vit_n_heads: vision.count("num_attention_heads", 16),
    vit_n_blocks: vision.count("num_hidden_layers", 12),
    vit_ln_eps: vision.number("layer_norm_eps", 1e-6),
    vit_model_type: "",
    lm_hidden_dim: hidden,
    lm_inter_dim: text.count("intermediate_size", 11008),
    lm_rms_eps: text.number("rms_norm_eps", 1e-6),
    lm_re_base: ropeBase(text),
    lm_max_position_embeddings: text.count("max_position_embeddings", 2048),
    lm_base_vocab_size: vocabulary,
    extra_token_amount: 0,
    lm_vocab_size: vocabulary,
    lm_n_heads: heads,
    lm_n_kv_heads: text.count("num_key_value_heads", heads),
    lm_n_blocks: text.count("num_hidden_layers", 32),
    lm_max_length: text.count("max_position_embeddings", 2048),
    lm_tie_weights: tied,
    lm_model_type: "",
    lm_tokenizer: "",
    lm_chat_template: "",
    mp_pixel_shuffle_factor: scale,
    mp_image_token_length: Math.floor(side / scale) ** 2,
    max_img_size: imageSize,
    vlm_extra_tokens: {},
    vlm_load_backbone_weights: false,
    model_type: String(json.model_type),
    family_config: json,
    vit_separate_qkv: true,
    lm_fixed_rope: true,
  };
  checkVLMConfig(config, source);
  const positions = patchPositions(side, json.transformers_version);
  if (positions === null) return config;
  const warn = options.onWarning ?? ((text: string): void => console.warn(text));
  warn(
    `${source}: Transformers ${json.transformers_version}, which saved this model, gives patches ` +
      `the positions of their neighbours above and on the left, and so does this run; set ` +
      `transformers_version to "5.0.0" if the weights were trained with another release`,
  );
  return { ...config, vit_position_ids: positions };
}

/** Names of a type in Transformers' configs. */
const DTYPES = { F32: "float32", F16: "float16", BF16: "bfloat16" } as const;

/** A config with the type of the stored weights: Transformers 5 loads weights in that type. */
function withDtype(json: Record<string, unknown>, dtype: string): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(json).map(([key, value]) => {
      if (key === "dtype" || key === "torch_dtype") return [key, dtype];
      const isPart = (key === "text_config" || key === "vision_config") &&
        typeof value === "object" && value !== null;
      return [key, isPart ? withDtype({ ...value }, dtype) : value];
    }),
  );
}

/**
 * The text of config.json: the one that was read, with the type of the stored weights, and with the
 * text model's `architectures`. Transformers leaves that out when it saves, and llama.cpp's
 * converter needs it.
 */
export function formatConfig(config: VLMConfig, dtype: keyof typeof DTYPES): string {
  const json = withDtype({ ...config.family_config }, DTYPES[dtype]);
  if (!("dtype" in json) && !("torch_dtype" in json)) json.dtype = DTYPES[dtype];
  const { text_config: text } = json;
  if (typeof text === "object" && text !== null) {
    json.text_config = { architectures: ["LlamaForCausalLM"], ...text };
  }
  return JSON.stringify(json, null, 2) + "\n";
}
