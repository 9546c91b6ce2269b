/**
 * nanoVLM's tensors: their names, shapes and kinds for a config.
 *
 * @module
 */

import type { VLMConfig } from "../vlm_config.ts";

/** What a tensor is; decides how a fresh one is initialized. */
export type WeightKind =
  | "linear"
  | "embedding"
  | "patch"
  | "patch_bias"
  | "position"
  | "class_token"
  | "bias"
  | "norm";

/** One tensor of a nanoVLM. */
export interface WeightSpec {
  /** Name as in nanoVLM's `state_dict`. */
  name: string;
  /** Row-major dims, as PyTorch keeps them: a linear layer is [out, in]. */
  shape: number[];
  /** What it is. */
  kind: WeightKind;
  /** Config keys that determine the shape. */
  keys: (keyof VLMConfig)[];
  /** Of the patch convolution's bias: the dims of the kernel that it centres. */
  kernelShape?: number[];
}

/** The three parts of a nanoVLM. */
export type ModelPart = "vision_encoder" | "decoder" | "MP";

/** Width of one attention head of the decoder. */
export function headDim(config: VLMConfig): number {
  return config.lm_hidden_dim / config.lm_n_heads;
}

/** Patches of a picture, and one more with a class token. */
export function positionCount(config: VLMConfig): number {
  const side = Math.floor(config.vit_img_size / config.vit_patch_size);
  return side * side + (config.vit_cls_flag ? 1 : 0);
}

function visionSpecs(config: VLMConfig): WeightSpec[] {
  const { vit_hidden_dim: C, vit_inter_dim: inter, vit_patch_size: patch } = config;
  const specs: WeightSpec[] = [];
  const add = (
    name: string,
    shape: number[],
    kind: WeightKind,
    ...keys: (keyof VLMConfig)[]
  ): void => {
    specs.push({ name: `vision_encoder.${name}`, shape, kind, keys: ["vit_hidden_dim", ...keys] });
  };
  if (config.vit_cls_flag) {
    add("patch_embedding.cls_token", [1, 1, C], "class_token", "vit_cls_flag");
  }
  add(
    "patch_embedding.position_embedding",
    [1, positionCount(config), C],
    "position",
    "vit_img_size",
    "vit_patch_size",
    "vit_cls_flag",
  );
  const kernel = [C, 3, patch, patch];
  add("patch_embedding.conv.weight", kernel, "patch", "vit_patch_size");
  add("patch_embedding.conv.bias", [C], "patch_bias");
  specs[specs.length - 1].kernelShape = kernel;
  for (let i = 0; i < config.vit_n_blocks; i++) {
    const block = `blocks.${i}`;
    add(`${block}.ln1.weight`, [C], "norm");
    add(`${block}.ln1.bias`, [C], "bias");
    if (config.vit_separate_qkv) {
      for (const layer of ["q_proj", "k_proj", "v_proj"]) {
        add(`${block}.attn.${layer}.weight`, [C, C], "linear");
        add(`${block}.attn.${layer}.bias`, [C], "bias");
      }
    } else {
      add(`${block}.attn.qkv_proj.weight`, [3 * C, C], "linear");
      add(`${block}.attn.qkv_proj.bias`, [3 * C], "bias");
    }
    add(`${block}.attn.out_proj.weight`, [C, C], "linear");
    add(`${block}.attn.out_proj.bias`, [C], "bias");
    add(`${block}.ln2.weight`, [C], "norm");
    add(`${block}.ln2.bias`, [C], "bias");
    add(`${block}.mlp.fc1.weight`, [inter, C], "linear", "vit_inter_dim");
    add(`${block}.mlp.fc1.bias`, [inter], "bias", "vit_inter_dim");
    add(`${block}.mlp.fc2.weight`, [C, inter], "linear", "vit_inter_dim");
    add(`${block}.mlp.fc2.bias`, [C], "bias");
  }
  add("layer_norm.weight", [C], "norm");
  add("layer_norm.bias", [C], "bias");
  return specs;
}

function decoderSpecs(config: VLMConfig): WeightSpec[] {
  const { lm_hidden_dim: C, lm_inter_dim: inter, lm_vocab_size: V } = config;
  const KV = headDim(config) * config.lm_n_kv_heads;
  const specs: WeightSpec[] = [];
  const add = (
    name: string,
    shape: number[],
    kind: WeightKind,
    ...keys: (keyof VLMConfig)[]
  ): void => {
    specs.push({ name: `decoder.${name}`, shape, kind, keys: ["lm_hidden_dim", ...keys] });
  };
  if (!config.lm_tie_weights) {
    add("token_embedding.weight", [V, C], "embedding", "lm_vocab_size", "lm_tie_weights");
  }
  for (let i = 0; i < config.lm_n_blocks; i++) {
    const block = `blocks.${i}`;
    add(`${block}.mlp.gate_proj.weight`, [inter, C], "linear", "lm_inter_dim");
    add(`${block}.mlp.up_proj.weight`, [inter, C], "linear", "lm_inter_dim");
    add(`${block}.mlp.down_proj.weight`, [C, inter], "linear", "lm_inter_dim");
    add(`${block}.attn.q_proj.weight`, [C, C], "linear");
    add(`${block}.attn.k_proj.weight`, [KV, C], "linear", "lm_n_heads", "lm_n_kv_heads");
    add(`${block}.attn.v_proj.weight`, [KV, C], "linear", "lm_n_heads", "lm_n_kv_heads");
    add(`${block}.attn.out_proj.weight`, [C, C], "linear");
    add(`${block}.norm1.weight`, [C], "norm");
    add(`${block}.norm2.weight`, [C], "norm");
  }
  add("norm.weight", [C], "norm");
  add("head.weight", [V, C], "linear", "lm_vocab_size");
  return specs;
}

function projectorSpecs(config: VLMConfig): WeightSpec[] {
  const input = config.vit_hidden_dim * config.mp_pixel_shuffle_factor ** 2;
  return [{
    name: "MP.proj.weight",
    shape: [config.lm_hidden_dim, input],
    kind: "linear",
    keys: ["lm_hidden_dim", "vit_hidden_dim", "mp_pixel_shuffle_factor"],
  }];
}

/**
 * Every trained tensor of a nanoVLM, in the order of its modules. With tied
 * weights the one tensor is `decoder.head.weight`, the name that nanoVLM's files keep.
 *
 * @param parts leave some of the model out
 */
export function weightSpecs(
  config: VLMConfig,
  parts: readonly ModelPart[] = ["vision_encoder", "decoder", "MP"],
): WeightSpec[] {
  const makers: Record<ModelPart, (config: VLMConfig) => WeightSpec[]> = {
    vision_encoder: visionSpecs,
    decoder: decoderSpecs,
    MP: projectorSpecs,
  };
  return parts.flatMap((part) => makers[part](config));
}

/** Shapes by name of every trained tensor: {@linkcode weightSpecs} as a map. */
export function expectedShapes(config: VLMConfig): Map<string, number[]> {
  return new Map(weightSpecs(config).map(({ name, shape }) => [name, shape]));
}

/** Names of the linear layers that an adapter can wrap, without `.weight`. */
export function linearModules(config: VLMConfig): string[] {
  return weightSpecs(config)
    .filter(({ kind, name }) => kind === "linear" && name.endsWith(".weight"))
    .map(({ name }) => name.slice(0, -".weight".length));
}

/**
 * RoPE's inverse frequencies, 1 / base^(2i / D) in float32: the buffer that nanoVLM's files carry
 * as `decoder.rotary_embd.inv_freq`.
 *
 * @returns [D / 2]
 */
export function inverseFrequencies(config: VLMConfig): Float32Array {
  const D = headDim(config);
  return Float32Array.from(
    { length: D / 2 },
    (_, i) => 1 / Math.fround(Math.pow(config.lm_re_base, Math.fround(2 * i / D))),
  );
}
