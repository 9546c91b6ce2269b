/**
 * Converts Transformers' SigLIP and SigLIP2 folders to nanoVLM's vision encoder.
 *
 * @module
 */

import type { VLMConfig } from "../../vlm_config.ts";
import { BackboneConfig, BackboneTensors, type ConvertedPart } from "./convert_source.ts";
import type { FloatTensor } from "../safetensors/safetensors.ts";

/** The config keys that a vision backbone decides. */
export type VisionConfig = Pick<
  VLMConfig,
  | "vit_hidden_dim"
  | "vit_inter_dim"
  | "vit_patch_size"
  | "vit_img_size"
  | "vit_n_heads"
  | "vit_dropout"
  | "vit_n_blocks"
  | "vit_ln_eps"
  | "vit_cls_flag"
>;

/** Values that config.json may leave out are those of Transformers' SiglipVisionConfig. */
function visionConfig(config: BackboneConfig): VisionConfig {
  config.require("hidden_act", "gelu_pytorch_tanh", "the ViT's GELU is the tanh one");
  config.require("num_channels", 3, "pictures are RGB");
  return {
    vit_hidden_dim: config.count("hidden_size", 768),
    vit_inter_dim: config.count("intermediate_size", 3072),
    vit_patch_size: config.count("patch_size", 16),
    vit_img_size: config.count("image_size", 224),
    vit_n_heads: config.count("num_attention_heads", 12),
    vit_dropout: config.number("attention_dropout", 0),
    vit_n_blocks: config.count("num_hidden_layers", 12),
    vit_ln_eps: config.number("layer_norm_eps", 1e-6),
    vit_cls_flag: false,
  };
}

/** The backbone's name of each tensor that is copied as it is, by nanoVLM's. */
function sourceNames(blocks: number): Map<string, string> {
  const names = new Map([
    ["patch_embedding.conv.weight", "embeddings.patch_embedding.weight"],
    ["patch_embedding.conv.bias", "embeddings.patch_embedding.bias"],
    ["layer_norm.weight", "post_layernorm.weight"],
    ["layer_norm.bias", "post_layernorm.bias"],
  ]);
  for (let i = 0; i < blocks; i++) {
    for (const kind of ["weight", "bias"]) {
      const from = `encoder.layers.${i}`;
      names.set(`blocks.${i}.ln1.${kind}`, `${from}.layer_norm1.${kind}`);
      names.set(`blocks.${i}.ln2.${kind}`, `${from}.layer_norm2.${kind}`);
      names.set(`blocks.${i}.attn.out_proj.${kind}`, `${from}.self_attn.out_proj.${kind}`);
      names.set(`blocks.${i}.mlp.fc1.${kind}`, `${from}.mlp.fc1.${kind}`);
      names.set(`blocks.${i}.mlp.fc2.${kind}`, `${from}.mlp.fc2.${kind}`);
    }
  }
  return names;
}

/** Matrices or vectors one below the other. */
export function joinRows(parts: readonly FloatTensor[]): FloatTensor {
  const rest = parts[0].shape.slice(1);
  const data = new Float32Array(parts.reduce((sum, part) => sum + part.data.length, 0));
  let position = 0;
  for (const part of parts) {
    data.set(part.data, position);
    position += part.data.length;
  }
  return {
    shape: [parts.reduce((sum, part) => sum + part.shape[0], 0), ...rest],
    dtype: parts[0].dtype,
    data,
  };
}

function checkTensors(tensors: BackboneTensors, config: VisionConfig, path: string): void {
  const { vit_hidden_dim: C, vit_inter_dim: inter, vit_patch_size: patch } = config;
  const positions = Math.floor(config.vit_img_size / patch) ** 2;
  tensors.check("embeddings.patch_embedding.weight", [C, 3, patch, patch]);
  tensors.check("embeddings.patch_embedding.bias", [C]);
  tensors.check("embeddings.position_embedding.weight", [positions, C]);
  tensors.check("post_layernorm.weight", [C]);
  tensors.check("post_layernorm.bias", [C]);
  for (let i = 0; i < config.vit_n_blocks; i++) {
    const from = `encoder.layers.${i}`;
    for (const norm of ["layer_norm1", "layer_norm2"]) {
      tensors.check(`${from}.${norm}.weight`, [C]);
      tensors.check(`${from}.${norm}.bias`, [C]);
    }
    for (const layer of ["q_proj", "k_proj", "v_proj", "out_proj"]) {
      tensors.check(`${from}.self_attn.${layer}.weight`, [C, C]);
      tensors.check(`${from}.self_attn.${layer}.bias`, [C]);
    }
    tensors.check(`${from}.mlp.fc1.weight`, [inter, C]);
    tensors.check(`${from}.mlp.fc1.bias`, [inter]);
    tensors.check(`${from}.mlp.fc2.weight`, [C, inter]);
    tensors.check(`${from}.mlp.fc2.bias`, [C]);
  }
  const layers = new Set(
    tensors.names.flatMap((name) => /^encoder\.layers\.(\d+)\./.exec(name)?.[1] ?? []),
  );
  if (layers.size !== config.vit_n_blocks) {
    new BackboneConfig(path, {}).fail(
      `the weights have ${layers.size} layers, config.json says ${config.vit_n_blocks}`,
    );
  }
}

/**
 * Opens a SigLIP folder, a whole model or its vision part alone. q, k and v become nanoVLM's one
 * `qkv_proj`; the pooling head and the text part are left behind; position embeddings are taken
 * as they are, never interpolated.
 *
 * @throws {ConvertError} if the folder holds another architecture, or tensors of other shapes
 * @throws {SafetensorsError} if a file is missing or damaged
 */
export async function openVisionBackbone(folder: string): Promise<ConvertedPart<VisionConfig>> {
  const outer = await BackboneConfig.read(folder);
  const type = outer.values.model_type;
  if (type !== "siglip" && type !== "siglip_vision_model") {
    outer.fail(
      `model_type is ${
        JSON.stringify(type)
      }, want siglip, siglip_vision_model, or a whole nanoVLM or SmolVLM` +
        (String(type).startsWith("siglip2")
          ? "; this is SigLIP2 of variable resolution, take one of fixed size (patch16-512)"
          : ""),
    );
  }
  const inner = type === "siglip" ? outer.object("vision_config") : outer;
  const config = visionConfig(inner ?? new BackboneConfig(outer.path, {}));
  const tensors = await BackboneTensors.open(folder, "vision_model.");
  try {
    checkTensors(tensors, config, outer.path);
  } catch (error) {
    tensors.close();
    throw error;
  }
  const names = sourceNames(config.vit_n_blocks);
  return {
    config,
    read(name: string): FloatTensor {
      const own = name.replace(/^vision_encoder\./, "");
      const source = names.get(own);
      if (source !== undefined) return tensors.read(source);
      if (own === "patch_embedding.position_embedding") {
        const table = tensors.read("embeddings.position_embedding.weight"); // [N, C]
        return { ...table, shape: [1, ...table.shape] };
      }
      const qkv = /^blocks\.(\d+)\.attn\.qkv_proj\.(weight|bias)$/.exec(own);
      if (qkv === null) return outer.fail(`nanoVLM's ${name} has no counterpart in SigLIP`);
      return joinRows(
        ["q_proj", "k_proj", "v_proj"].map((layer) =>
          tensors.read(`encoder.layers.${qkv[1]}.self_attn.${layer}.${qkv[2]}`)
        ),
      );
    },
    [Symbol.dispose]: () => tensors.close(),
  };
}
