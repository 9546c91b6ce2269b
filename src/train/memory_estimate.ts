/**
 * How much memory a training step takes, by part, from dims alone.
 *
 * @module
 */
import type { VLMConfig } from "../model/config.ts";

// B rows, T tokens, C channels, I inner channels, H heads, K key/value channels, P patches, V vocabulary

const FLOAT_BYTES = 4;
const PACKED_BYTES = 2;

/** What a step works on. */
export interface StepDims {
  readonly rows: number;
  /** Tokens of the longest row. */
  readonly tokens: number;
  /** Tiles of all rows. */
  readonly tiles: number;
}

/** What else decides. */
export interface StepMemoryOptions {
  /** Numbers in all weights, adapters included. */
  readonly parameters: number;
  /** Of them, frozen ones that are kept in 16 bits. */
  readonly packed: number;
  /** Numbers in what trains. */
  readonly trained: number;
  readonly trainsVision: boolean;
  /** Micro-batches of an optimizer step. */
  readonly accumulation: number;
  readonly checkpointing: boolean;
  /**
   * Whether norms, activations, attention and head are kernels of ours. Of plain tfjs ops each keeps
   * more: attention its matrix of [T, T] a head, the head chunks of 64 MiB of logits.
   */
  readonly fused: boolean;
  /** Floats that adapters keep beside their layers: a token in the decoder, a patch in the ViT. */
  readonly adapterFloats: { readonly perToken: number; readonly perPatch: number };
}

/** Bytes of each part of a training step. */
export interface StepMemory {
  readonly weights: number;
  readonly gradients: number;
  readonly moments: number;
  readonly activations: number;
  readonly logits: number;
}

/** Floats that a block of the decoder keeps for the way back, a row. */
function decoderBlockFloats(config: VLMConfig, T: number, fused: boolean): number {
  const { lm_hidden_dim: C, lm_inter_dim: I, lm_n_heads: H, lm_n_kv_heads } = config;
  const K = lm_n_kv_heads * (C / H);
  // Input, normed, q, attended, sum, normed: C each; k, v; gate, up, product.
  const perToken = 6 * C + 2 * K + 3 * I;
  // What norms, rotation and SwiGLU keep in between was counted once, not derived.
  return T * perToken + (fused ? 0 : T * (8 * C + 3 * I) + 3 * H * T * T);
}

/** Floats that a block of the vision encoder holds while it runs, a tile. */
function visionBlockFloats(config: VLMConfig, fused: boolean): number {
  const { vit_hidden_dim: C, vit_inter_dim: I, vit_n_heads: H } = config;
  const P = patches(config);
  // Input, normed, q, k, v together and apart, attended, projected, sum, normed, out: C each.
  return P * (13 * C + 2 * I) + (fused ? 0 : P * (8 * C + 6 * I) + 3 * H * P * P);
}

/** Patches of a tile. */
function patches(config: VLMConfig): number {
  return (config.vit_img_size / config.vit_patch_size) ** 2 + (config.vit_cls_flag ? 1 : 0);
}

/**
 * Bytes of the forward and backward pass of one batch beside weights and gradients.
 *
 * @param dims the batch's
 */
export function activationBytes(
  config: VLMConfig,
  { rows: B, tokens: T, tiles }: StepDims,
  options: Pick<StepMemoryOptions, "trainsVision" | "checkpointing" | "fused" | "adapterFloats">,
): number {
  const { fused, checkpointing, trainsVision, adapterFloats } = options;
  const P = patches(config);
  const kept = (block: number, adapters: number, input: number, blocks: number) =>
    checkpointing ? blocks * input + block + adapters / blocks : blocks * block + adapters;
  const decoder = kept(
    B * decoderBlockFloats(config, T, fused),
    B * T * adapterFloats.perToken,
    B * T * config.lm_hidden_dim,
    config.lm_n_blocks,
  );
  const visionBlock = tiles * visionBlockFloats(config, fused);
  // Of them q, k and v together, what is added and the output are gone once it has run.
  const visionPassing = 6 * tiles * P * config.vit_hidden_dim;
  const pictures = 2 * tiles * 3 * config.vit_img_size ** 2; // as they are, and as patches
  // A vision encoder that does not train is done before the decoder starts.
  if (!trainsVision) return FLOAT_BYTES * Math.max(decoder + pictures / 2, visionBlock + pictures);
  const vision = visionPassing + kept(
    visionBlock - visionPassing,
    tiles * P * adapterFloats.perPatch,
    tiles * P * config.vit_hidden_dim,
    config.vit_n_blocks,
  );
  return FLOAT_BYTES * (decoder + vision + pictures);
}

/** Bytes of one optimizer step, by part. */
export function estimateStepMemory(
  config: VLMConfig,
  dims: StepDims,
  options: StepMemoryOptions,
): StepMemory {
  const rows = dims.rows * dims.tokens;
  const logits = options.fused
    ? 0
    : Math.min(64 * 2 ** 20, rows * config.lm_vocab_size * FLOAT_BYTES) * 4;
  return {
    weights: FLOAT_BYTES * options.parameters - (FLOAT_BYTES - PACKED_BYTES) * options.packed,
    // The sum so far, and the gradients that are added to it.
    gradients: FLOAT_BYTES * options.trained * (options.accumulation > 1 ? 2 : 1),
    moments: 2 * FLOAT_BYTES * options.trained,
    activations: activationBytes(config, dims, options),
    logits,
  };
}
