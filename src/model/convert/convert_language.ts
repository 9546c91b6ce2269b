/**
 * Converts Transformers' Llama folders (also SmolLM2's) to nanoVLM's decoder.
 *
 * @module
 */

import type { VLMConfig } from "../../vlm_config.ts";
import { BackboneConfig, BackboneTensors, type ConvertedPart } from "./convert_source.ts";
import type { FloatTensor } from "../safetensors/safetensors.ts";

/** The config keys that a language backbone decides. */
export type LanguageConfig = Pick<
  VLMConfig,
  | "lm_hidden_dim"
  | "lm_inter_dim"
  | "lm_rms_eps"
  | "lm_re_base"
  | "lm_max_position_embeddings"
  | "lm_base_vocab_size"
  | "lm_n_heads"
  | "lm_n_kv_heads"
  | "lm_dropout"
  | "lm_n_blocks"
  | "lm_attn_scaling"
  | "lm_tie_weights"
>;

/** Transformers 5 has `rope_parameters`, 4 has `rope_theta` and `rope_scaling`. */
function ropeBase(config: BackboneConfig): number {
  const parameters = config.object("rope_parameters");
  const scaling = parameters ?? config.object("rope_scaling");
  const type = scaling?.values.rope_type ?? scaling?.values.type ?? "default";
  if (type !== "default") {
    config.fail(`its rotary embeddings are scaled (${JSON.stringify(type)}), nanoVLM's are not`);
  }
  return parameters?.values.rope_theta !== undefined
    ? parameters.number("rope_theta")
    : config.number("rope_theta", 10000);
}

/** Values that config.json may leave out are those of Transformers' LlamaConfig. */
function languageConfig(config: BackboneConfig): LanguageConfig {
  if (config.values.model_type !== "llama") {
    config.fail(
      `model_type is ${JSON.stringify(config.values.model_type)}, want "llama" ` +
        `(SmolLM2's too): other architectures compute other things`,
    );
  }
  config.require("hidden_act", "silu", "its gate is SiLU");
  config.require("attention_bias", false, "its projections have no biases");
  config.require("mlp_bias", false, "its projections have no biases");
  const hidden = config.count("hidden_size");
  const heads = config.count("num_attention_heads");
  const width = config.count("head_dim", hidden / heads);
  if (width * heads !== hidden) {
    config.fail(
      `head_dim ${width} × num_attention_heads ${heads} is not hidden_size ${hidden}, ` +
        `which is all that nanoVLM knows`,
    );
  }
  return {
    lm_hidden_dim: hidden,
    lm_inter_dim: config.count("intermediate_size"),
    lm_rms_eps: config.number("rms_norm_eps", 1e-6),
    lm_re_base: ropeBase(config),
    lm_max_position_embeddings: config.count("max_position_embeddings", 2048),
    lm_base_vocab_size: config.count("vocab_size"),
    lm_n_heads: heads,
    lm_n_kv_heads: config.count("num_key_value_heads", heads),
    lm_dropout: config.number("attention_dropout", 0),
    lm_n_blocks: config.count("num_hidden_layers"),
    lm_attn_scaling: 1,
    lm_tie_weights: config.values.tie_word_embeddings === true,
  };
}

const BLOCK_NAMES: readonly (readonly [own: string, source: string])[] = [
  ["attn.q_proj", "self_attn.q_proj"],
  ["attn.k_proj", "self_attn.k_proj"],
  ["attn.v_proj", "self_attn.v_proj"],
  ["attn.out_proj", "self_attn.o_proj"],
  ["mlp.gate_proj", "mlp.gate_proj"],
  ["mlp.up_proj", "mlp.up_proj"],
  ["mlp.down_proj", "mlp.down_proj"],
  ["norm1", "input_layernorm"],
  ["norm2", "post_attention_layernorm"],
];

function sourceName(own: string): string | null {
  if (own === "norm.weight") return "norm.weight";
  if (own === "token_embedding.weight") return "embed_tokens.weight";
  const block = /^blocks\.(\d+)\.(.+)\.weight$/.exec(own);
  const source = block && BLOCK_NAMES.find(([name]) => name === block[2])?.[1];
  return block && source ? `layers.${block[1]}.${source}.weight` : null;
}

function checkTensors(tensors: BackboneTensors, config: LanguageConfig, path: string): void {
  const { lm_hidden_dim: C, lm_inter_dim: inter, lm_base_vocab_size: V } = config;
  const KV = C / config.lm_n_heads * config.lm_n_kv_heads;
  tensors.check("embed_tokens.weight", [V, C]);
  tensors.check("norm.weight", [C]);
  for (let i = 0; i < config.lm_n_blocks; i++) {
    const from = `layers.${i}`;
    tensors.check(`${from}.self_attn.q_proj.weight`, [C, C]);
    tensors.check(`${from}.self_attn.k_proj.weight`, [KV, C]);
    tensors.check(`${from}.self_attn.v_proj.weight`, [KV, C]);
    tensors.check(`${from}.self_attn.o_proj.weight`, [C, C]);
    tensors.check(`${from}.mlp.gate_proj.weight`, [inter, C]);
    tensors.check(`${from}.mlp.up_proj.weight`, [inter, C]);
    tensors.check(`${from}.mlp.down_proj.weight`, [C, inter]);
    tensors.check(`${from}.input_layernorm.weight`, [C]);
    tensors.check(`${from}.post_attention_layernorm.weight`, [C]);
  }
  const known = new Set([
    "embed_tokens.weight",
    "norm.weight",
    "lm_head.weight",
    ...Array.from({ length: config.lm_n_blocks }, (_, i) => i).flatMap((i) =>
      BLOCK_NAMES.map(([, source]) => `layers.${i}.${source}.weight`)
    ),
  ]);
  const other = tensors.names.find((name) => !known.has(name) && !name.endsWith("inv_freq"));
  if (other !== undefined) {
    new BackboneConfig(path, {}).fail(`its tensor ${other} has no counterpart in nanoVLM`);
  }
}

/**
 * Opens a Llama folder, single or sharded. Its embedding and head keep the vocabulary that the
 * backbone has; {@linkcode convertBackbones} grows it.
 *
 * @throws {ConvertError} if the folder holds another architecture, or tensors of other shapes
 * @throws {SafetensorsError} if a file is missing or damaged
 */
export async function openLanguageBackbone(
  folder: string,
): Promise<ConvertedPart<LanguageConfig>> {
  const source = await BackboneConfig.read(folder);
  const config = languageConfig(source);
  const tensors = await BackboneTensors.open(folder, "model.");
  const hasHead = tensors.has("lm_head.weight", true);
  try {
    checkTensors(tensors, config, source.path);
    if (!config.lm_tie_weights && !hasHead) {
      source.fail("tie_word_embeddings is false, but the weights have no lm_head.weight");
    }
    if (hasHead) {
      const shape = [config.lm_base_vocab_size, config.lm_hidden_dim];
      tensors.check("lm_head.weight", shape, true);
    }
  } catch (error) {
    tensors.close();
    throw error;
  }
  return {
    config,
    read(name: string): FloatTensor {
      const own = name.replace(/^decoder\./, "");
      if (own === "head.weight") {
        return config.lm_tie_weights || !hasHead
          ? tensors.read("embed_tokens.weight")
          : tensors.read("lm_head.weight", true);
      }
      const from = sourceName(own);
      return from === null
        ? source.fail(`nanoVLM's ${name} has no counterpart in Llama`)
        : tensors.read(from);
    },
    [Symbol.dispose]: () => tensors.close(),
  };
}
