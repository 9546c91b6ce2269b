/**
 * How much memory a training step takes, by part, from dims alone.
 *
 * @module
 */
import type { VLMConfig } from "../../vlm_config.ts";
import { MEMORY_CONSTANTS, type MemoryConstants } from "./memory_constants.ts";

// B rows, N tokens of all rows, T tokens of a row, C channels, I inner channels, H heads,
// K key/value channels, P patches, V vocabulary

const FLOAT_BYTES = 4;

/** What a step works on. */
export interface StepDims {
  readonly rows: number;
  /** Of all rows. */
  readonly tokens: number;
  /** Tiles of all rows. */
  readonly tiles: number;
}

/** What else decides. */
export interface StepMemoryOptions {
  /** Numbers in all weights, adapters included. */
  readonly parameters: number;
  /** Bytes that frozen ones in 16 or 8 bits need less than float32. */
  readonly packedSaves: number;
  /** Numbers in what trains. */
  readonly trained: number;
  /** Bytes of the optimizer's state; default: AdamW's two moments in float32. */
  readonly stateBytes?: number;
  /** The most that an update holds beside gradients, in bytes; default: nothing. */
  readonly updateBytes?: number;
  /** Of them, in the vision encoder. */
  readonly trainedVision: number;
  /** Of them, in the embedding and the head, whose gradients come first and stay. */
  readonly trainedTable: number;
  readonly trainsVision: boolean;
  /** Micro-batches of an optimizer step. */
  readonly accumulation: number;
  readonly checkpointing: boolean;
  /** Whether a pass computes in 16 bits, and keeps what it rounds in them. */
  readonly half: boolean;
  /**
   * Whether norms, activations, attention and head are kernels of ours. Of plain tfjs ops each keeps
   * more: attention its matrix of [T, T] a head, the head chunks of 64 MiB of logits.
   */
  readonly fused: boolean;
  /** The kind of adapter of the webgpu backend; a software adapter uses the process's memory. */
  readonly gpu: "hardware" | "software" | null;
  /**
   * Whether the adapter's compiler takes memory with the first steps, as lavapipe's LLVM does;
   * SwiftShader's is in the process from the beginning. Default true.
   */
  readonly compilesLate?: boolean;
  /** Default: the fitted ones. */
  readonly constants?: MemoryConstants;
  /** Bytes of the process beside weights, before the first step and without garbage. */
  readonly processBytes: number;
  /** Floats that adapters keep beside their layers: a token in the decoder, a patch in the ViT. */
  readonly adapterFloats: {
    readonly perToken: number;
    readonly perPatch: number;
    /** What dropout leaves of the inputs of a decoder block's layers, freed once it is read. */
    readonly passing: number;
  };
}

/** What else a method of training holds, in bytes. */
export interface MethodMemory {
  /** While completions are sampled: keys, values and a step's logits. */
  readonly generation?: number;
  /** All the time: the values that trained weights began with, of a reference policy. */
  readonly reference?: number;
  /** While the head runs: logits of student and teacher and what is made of them, in GKD. */
  readonly divergences?: number;
  /** After the backward pass: logits and what is made of them, for entropies. */
  readonly entropies?: number;
}

/** Bytes of each part of a training step. */
export interface StepMemory {
  readonly weights: number;
  readonly gradients: number;
  /** The optimizer's state. */
  readonly moments: number;
  readonly reference: number;
  readonly activations: number;
  readonly logits: number;
  readonly generation: number;
  readonly entropies: number;
  /** The most that forward, backward and sampling hold at once beside weights, moments and reference. */
  readonly pass: number;
  /** On a GPU: what is freed, but waits for its commands; textures; 0 elsewhere. */
  readonly waiting: number;
  /** In buffers of the GPU in use, at the peak; 0 if there is none. */
  readonly gpu: number;
  /** What the process holds, as metrics.jsonl's `peak_memory_bytes`. */
  readonly process: number;
}

const MEBIBYTE = 2 ** 20;

/** What decides on the floats of a block. */
type BlockOptions = Pick<StepMemoryOptions, "fused" | "half" | "gpu" | "constants">;

/** Floats of a block: kept for the backward pass, and beside them during either pass. */
interface BlockFloats {
  readonly kept: number;
  readonly running: number;
}

/** Of the decoder. */
function decoderBlockFloats(
  config: VLMConfig,
  { rows: B, tokens: N }: Pick<StepDims, "rows" | "tokens">,
  options: BlockOptions,
): BlockFloats {
  const { lm_hidden_dim: C, lm_inter_dim: I, lm_n_heads: H, lm_n_kv_heads } = config;
  const { fused, half, gpu, constants: k = MEMORY_CONSTANTS } = options;
  const K = lm_n_kv_heads * (C / H);
  // Input and middle; both normed, q, attended; k, v; gate, up and their product; norms and softmax.
  const kept = 2 * C + (4 * C + 2 * K + 3 * I) / (half ? 2 : 1) + H + 2;
  // What norms, rotation and SwiGLU of plain ops keep in between, and attention's scores.
  const between = half
    ? k.plainDecoderHalfHidden * C + k.plainDecoderHalfInner * I
    : k.plainDecoderFloat32Hidden * C + k.plainDecoderFloat32Inner * I;
  const plain = fused ? 0 : N * between + k.plainScores * H * N * N / Math.max(1, B);
  const running = !half
    ? Math.max(
      k.decoderFloat32SwigluHidden * C + k.decoderFloat32SwigluInner * I,
      k.decoderFloat32AttentionHidden * C + k.decoderFloat32AttentionKeys * K,
    )
    : gpu !== null
    ? Math.max(
      k.decoderHalfGpuSwigluHidden * C + k.decoderHalfGpuSwigluInner * I,
      k.decoderHalfGpuAttentionHidden * C + k.decoderHalfGpuAttentionKeys * K,
    )
    : Math.max(
      k.decoderHalfSwigluHidden * C + k.decoderHalfSwigluInner * I,
      k.decoderHalfAttentionHidden * C + k.decoderHalfAttentionKeys * K,
    );
  return { kept: N * kept + plain, running: N * running };
}

/** Of the vision encoder, for a tile. */
function visionBlockFloats(
  config: VLMConfig,
  options: BlockOptions,
): BlockFloats & {
  /** All floats of a block's forward pass that keeps nothing for a backward pass. */
  readonly frozen: number;
} {
  const { fused, half, constants: k = MEMORY_CONSTANTS } = options;
  const { vit_hidden_dim: C, vit_inter_dim: I, vit_n_heads: H } = config;
  const P = patches(config);
  // Input and middle; both normed, q, k, v, attended; the layers between; norms and softmax.
  const kept = 2 * C + (6 * C + 2 * I) / (half ? 2 : 1) + H + 4;
  const between = half
    ? k.plainVisionHalfHidden * C + k.plainVisionHalfInner * I
    : k.plainVisionFloat32Hidden * C + k.plainVisionFloat32Inner * I;
  const plain = fused ? 0 : P * between + k.plainScores * H * P * P;
  // q, k, v together and apart, projected, sum; in 16 bits as they are and rounded.
  const running = half
    ? k.visionHalfHidden * C + k.visionHalfInner * I
    : k.visionFloat32Hidden * C + k.visionFloat32Inner * I;
  const frozen = half
    ? k.frozenVisionHalfHidden * C + k.frozenVisionHalfInner * I
    : k.frozenVisionFloat32Hidden * C + k.frozenVisionFloat32Inner * I;
  return {
    kept: P * kept + plain,
    running: P * running,
    frozen: fused ? P * frozen : P * (kept + running) + plain,
  };
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
  dims: StepDims,
  options:
    & BlockOptions
    & Pick<StepMemoryOptions, "trainsVision" | "checkpointing" | "adapterFloats">,
): number {
  const { checkpointing, trainsVision, adapterFloats } = options;
  const { tokens: N, tiles } = dims;
  const P = patches(config);
  const ofDecoder = decoderBlockFloats(config, dims, options);
  const decoderAdapters = N * adapterFloats.perToken;
  // A half of the block frees what its layers have dropped before the other runs.
  const decoderRunning = ofDecoder.running + N * adapterFloats.passing / 2;
  // After its attention the last block computes labelled tokens alone: almost nothing of it is kept.
  const decoderBlocks = Math.max(0.5, config.lm_n_blocks - 1);
  const ofVision = visionBlockFloats(config, options);
  const visionAdapters = tiles * P * adapterFloats.perPatch;
  const visionBlock = tiles * (ofVision.kept + ofVision.running);
  const pictures = tiles * 3 * config.vit_img_size ** 2;
  // While a block runs: pictures as they are and as patches, and what the block itself needs.
  const running = (trainsVision ? visionBlock : tiles * ofVision.frozen) + 2 * pictures;
  if (checkpointing) {
    // Blocks keep their inputs, and one at a time is run again.
    const decoder = decoderRunning + decoderBlocks * N * config.lm_hidden_dim +
      ofDecoder.kept + decoderAdapters / config.lm_n_blocks;
    const inputs = trainsVision ? tiles * P * config.vit_hidden_dim * config.vit_n_blocks : 0;
    const vision = visionBlock + visionAdapters / config.vit_n_blocks;
    return FLOAT_BYTES * Math.max(
      pictures + inputs + Math.max(decoder, trainsVision ? vision : 0),
      running,
    );
  }
  const decoder = decoderRunning + decoderBlocks * ofDecoder.kept + decoderAdapters;
  // A vision encoder that does not train is done before the decoder starts.
  const vision = trainsVision ? tiles * config.vit_n_blocks * ofVision.kept + visionAdapters : 0;
  return FLOAT_BYTES * Math.max(decoder + vision + pictures, running);
}

/** The most that gradients and activations take at once. */
function passBytes(
  config: VLMConfig,
  dims: StepDims,
  activations: number,
  options: StepMemoryOptions,
): number {
  const { trained, trainedVision, trainedTable, accumulation } = options;
  // The backward pass frees activations block by block as it computes gradients.
  const atFirst = activations + FLOAT_BYTES * trainedTable;
  const ofVision = options.trainsVision
    ? activationBytes(config, { ...dims, tokens: 0 }, options)
    : 0;
  // With recomputed blocks the last one holds as much as the first one, beside gradients.
  const missing = trainedVision / (options.checkpointing ? config.vit_n_blocks : 1);
  const atVision = ofVision + FLOAT_BYTES * (trained - missing);
  // A second micro-batch adds to gradients that exist already.
  if (accumulation > 1) return activations + FLOAT_BYTES * trained;
  return Math.max(atFirst, atVision, FLOAT_BYTES * trained);
}

/** What waits for submission, and the textures that a software adapter's products read. */
function waitingBytes(config: VLMConfig, dims: StepDims, options: StepMemoryOptions): number {
  if (options.gpu === null) return 0;
  const { constants: k = MEMORY_CONSTANTS } = options;
  const { tokens: N, tiles } = dims;
  const { kept, running } = decoderBlockFloats(config, dims, options);
  const passing = N * options.adapterFloats.passing;
  const again = options.checkpointing && (!options.half || options.adapterFloats.perToken === 0);
  const ofHalf = options.gpu === "software" ? k.waitingHalfSoftware : k.waitingHalfHardware;
  const recomputed = options.half ? k.waitingRecomputedHalf : k.waitingRecomputedFloat32;
  const waiting = (options.half ? ofHalf : k.waitingFloat32) * (again ? recomputed : 1);
  const block = FLOAT_BYTES * (kept + running + passing) * waiting;
  if (options.gpu === "hardware") return block;
  const P = patches(config);
  const widest = Math.max(
    N * Math.max(config.lm_inter_dim, config.lm_hidden_dim),
    tiles * P * config.vit_inter_dim,
    options.trainedTable / 2,
  );
  return block + FLOAT_BYTES * 2 * widest;
}

/** The arguments of {@linkcode estimateStepMemory}. */
export type EstimateInputs = Parameters<typeof estimateStepMemory>;

/**
 * Bytes of one optimizer step, by part.
 *
 * @param dims the largest batch's
 * @param method what the method of training holds beside
 */
export function estimateStepMemory(
  config: VLMConfig,
  dims: StepDims,
  options: StepMemoryOptions,
  method: MethodMemory = {},
): StepMemory {
  const { gpu, trained, processBytes, constants: k = MEMORY_CONSTANTS } = options;
  // Tensors of logits that a head of plain ops holds.
  const headForms = options.fused ? 0 : 4;
  const logits = headForms *
    Math.min(64 * 2 ** 20, dims.tokens * config.lm_vocab_size * FLOAT_BYTES);
  const { generation = 0, entropies = 0, reference = 0, divergences = 0 } = method;
  const weights = FLOAT_BYTES * options.parameters -
    options.packedSaves;
  const { stateBytes: moments = 2 * FLOAT_BYTES * trained, updateBytes = 0 } = options;
  const activations = activationBytes(config, dims, options);
  const gradients = FLOAT_BYTES * trained;
  const pass = Math.max(
    passBytes(config, dims, activations, options) + logits + divergences,
    entropies > 0 ? entropies + gradients : 0,
    updateBytes > 0 ? updateBytes + gradients : 0,
    generation,
  );
  const waiting = waitingBytes(config, dims, options);
  const inUse = weights + moments + reference + pass + waiting;
  // Free buffers that are kept: see BufferPool.
  const shaders = options.compilesLate === false ? 0 : k.shaderMiB * MEBIBYTE;
  const kept = gpu === "software" ? Math.max(16 * MEBIBYTE, inUse / 4) + shaders : 0;
  return {
    weights,
    gradients,
    moments,
    reference,
    activations,
    logits,
    generation,
    entropies,
    pass,
    waiting,
    gpu: gpu === null ? 0 : inUse,
    process: processBytes + k.processGrowthMiB * MEBIBYTE + (gpu === "hardware" ? 0 : inUse + kept),
  };
}

/**
 * Bytes that logits of labelled positions take for their divergences from a teacher: tensors of a
 * chunk, as counted in the backward pass (`src/ops/divergence.ts`).
 *
 * @param tokens of answers
 * @param beta which divergence
 */
export function divergenceBytes(config: VLMConfig, tokens: number, beta: number): number {
  const forms = beta === 0 ? 8 : beta === 1 ? 9 : 12;
  return forms * Math.min(64 * 2 ** 20, FLOAT_BYTES * tokens * config.lm_vocab_size);
}

/**
 * Bytes that logits of labelled positions take for their entropies: five tensors, and on a GPU those that
 * wait for their commands; none if a kernel makes them, as on wasm.
 */
export function entropyBytes(
  config: VLMConfig,
  tokens: number,
  backend: "webgpu" | "wasm" | "cpu",
): number {
  const forms = { webgpu: 8, wasm: 0, cpu: 5 }[backend];
  return forms * Math.min(64 * 2 ** 20, FLOAT_BYTES * tokens * config.lm_vocab_size);
}

/**
 * Bytes of sampling: keys and values of prompts and completions, one block's pair of them twice as it
 * moves to a larger buffer, and a step's logits.
 *
 * @param prompts that are answered side by side
 * @param promptTokens of the longest
 * @param completions of each prompt
 * @param newTokens at most
 * @param shared whether a prompt's keys and values are there once for all its completions
 */
export function generationBytes(
  config: VLMConfig,
  { prompts, promptTokens, completions, newTokens, shared }: {
    readonly prompts: number;
    readonly promptTokens: number;
    readonly completions: number;
    readonly newTokens: number;
    readonly shared: boolean;
  },
): number {
  const { lm_n_blocks, lm_hidden_dim, lm_n_heads, lm_n_kv_heads, lm_vocab_size } = config;
  const width = lm_n_kv_heads * (lm_hidden_dim / lm_n_heads);
  const tokens = prompts *
    (shared ? promptTokens + completions * newTokens : completions * (promptTokens + newTokens));
  const blocks = 2 * width * tokens;
  const logits = 4 * prompts * completions * lm_vocab_size;
  return FLOAT_BYTES * ((lm_n_blocks + 1) * blocks + logits);
}
