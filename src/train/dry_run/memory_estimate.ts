/**
 * How much memory a training step takes, by part, from dims alone.
 *
 * @module
 */
import type { VLMConfig } from "../../vlm_config.ts";

// B rows, N tokens of all rows, T tokens of a row, C channels, I inner channels, H heads,
// K key/value channels, P patches, V vocabulary

const FLOAT_BYTES = 4;
const PACKED_BYTES = 2;

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
  /** Of them, frozen ones that are kept in 16 bits. */
  readonly packed: number;
  /** Numbers in what trains. */
  readonly trained: number;
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
  /** After the backward pass: logits and what is made of them, for entropies. */
  readonly entropies?: number;
}

/** Bytes of each part of a training step. */
export interface StepMemory {
  readonly weights: number;
  readonly gradients: number;
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

/** What compiled code and garbage add to the process in its first steps; seen, not derived. */
const PROCESS_GROWTH = 75 * 2 ** 20;

/** And the compiled shaders of a software adapter. */
const SHADER_BYTES = 24 * 2 ** 20;

/** What decides on the floats of a block. */
type BlockOptions = Pick<StepMemoryOptions, "fused" | "half" | "gpu">;

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
  const { fused, half, gpu } = options;
  const K = lm_n_kv_heads * (C / H);
  // Input and middle; both normed, q, attended; k, v; gate, up and their product; norms and softmax.
  const kept = 2 * C + (4 * C + 2 * K + 3 * I) / (half ? 2 : 1) + H + 2;
  // What norms, rotation and SwiGLU of plain ops keep in between was counted once, not derived.
  const plain = fused ? 0 : N * (half ? 8 * C : 12 * C + 2 * I) + 3 * H * N * N / Math.max(1, B);
  // Seen, by varying each dim; in 16 bits on the way back of SwiGLU or of attention, which on a GPU
  // reads the words.
  const running = !half
    ? 3.5 * C + 1.75 * I
    : gpu !== null
    ? 8.3 * C + 2.3 * I
    : Math.max(2.7 * C + 4.3 * I, 5.1 * C + 3.8 * K);
  return { kept: N * kept + plain, running: N * running };
}

/** Of the vision encoder, for a tile. */
function visionBlockFloats(config: VLMConfig, { fused, half }: BlockOptions): BlockFloats {
  const { vit_hidden_dim: C, vit_inter_dim: I, vit_n_heads: H } = config;
  const P = patches(config);
  // Input and middle; both normed, q, k, v, attended; the layers between; norms and softmax.
  const kept = 2 * C + (6 * C + 2 * I) / (half ? 2 : 1) + H + 4;
  const plain = fused ? 0 : P * (8 * C + (half ? 0 : 6 * I)) + 3 * H * P * P;
  // Seen: q, k, v together and apart, projected, sum; in 16 bits as they are and rounded.
  return { kept: P * kept + plain, running: P * (half ? 8 * C + I : 5 * C) };
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
  // Behind its attention the last block knows labels alone: of it nearly nothing is kept.
  const decoderBlocks = Math.max(0.5, config.lm_n_blocks - 1);
  const ofVision = visionBlockFloats(config, options);
  const visionAdapters = tiles * P * adapterFloats.perPatch;
  const visionBlock = tiles * (ofVision.kept + ofVision.running);
  const pictures = tiles * 3 * config.vit_img_size ** 2;
  // While a block runs: pictures as they are and as patches, and what only the block itself needs.
  const running = visionBlock + 2 * pictures;
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
  // The way back frees activations block by block as gradients come.
  const atFirst = activations + FLOAT_BYTES * trainedTable;
  const ofVision = options.trainsVision
    ? activationBytes(config, { ...dims, tokens: 0 }, options)
    : 0;
  // Of blocks that are run again as much is there at the last one as at the first, beside gradients.
  const missing = trainedVision / (options.checkpointing ? config.vit_n_blocks : 1);
  const atVision = ofVision + FLOAT_BYTES * (trained - missing);
  // A second micro-batch adds to gradients that are all there.
  if (accumulation > 1) return activations + FLOAT_BYTES * trained;
  return Math.max(atFirst, atVision, FLOAT_BYTES * trained);
}

/** What waits for submission, and the textures that a software adapter's products read. */
function waitingBytes(config: VLMConfig, dims: StepDims, options: StepMemoryOptions): number {
  if (options.gpu === null) return 0;
  const { tokens: N, tiles } = dims;
  const { kept, running } = decoderBlockFloats(config, dims, options);
  const passing = N * options.adapterFloats.passing;
  // Seen, not derived. Of a block that is run again half is in use; in 16 bits a software adapter
  // rounds operands into tensors of their own, of adapters too.
  const again = options.checkpointing && (!options.half || options.adapterFloats.perToken === 0);
  const rounded = options.half ? (options.gpu === "software" ? 2.1 : 1) : 1.2;
  const waiting = rounded * (again ? (options.half ? 0.6 : 0.5) : 1);
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
  const { gpu, trained, processBytes } = options;
  // Forms of a head of plain ops.
  const headForms = options.fused ? 0 : 4;
  const logits = headForms *
    Math.min(64 * 2 ** 20, dims.tokens * config.lm_vocab_size * FLOAT_BYTES);
  const { generation = 0, entropies = 0, reference = 0 } = method;
  const weights = FLOAT_BYTES * options.parameters -
    (FLOAT_BYTES - PACKED_BYTES) * options.packed;
  const moments = 2 * FLOAT_BYTES * trained;
  const activations = activationBytes(config, dims, options);
  const gradients = FLOAT_BYTES * trained;
  const pass = Math.max(
    passBytes(config, dims, activations, options) + logits,
    entropies > 0 ? entropies + gradients : 0,
    generation,
  );
  const waiting = waitingBytes(config, dims, options);
  const inUse = weights + moments + reference + pass + waiting;
  // Free buffers that are kept: see BufferPool.
  const kept = gpu === "software" ? Math.max(16 * 2 ** 20, inUse / 4) + SHADER_BYTES : 0;
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
    process: processBytes + PROCESS_GROWTH + (gpu === "hardware" ? 0 : inUse + kept),
  };
}

/**
 * Bytes that hidden states behind labels take as logits, for their entropies: five forms, and on a
 * GPU those that wait for their commands; none if a kernel makes them, as on wasm.
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
