/**
 * What the benchmarks work on: fresh models of two sizes and random batches, with the dims that
 * PyTorch is timed on.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { IGNORED_LABEL } from "../ignored_label.ts";
import {
  type ImageTiles,
  type ModelBatch,
  type ModelInputs,
  toModelBatch,
} from "../model/batch.ts";
import { defaultVLMConfig, type VLMConfig } from "../vlm_config.ts";
import { initializeWeights } from "../model/initialize.ts";
import {
  type HostWeights,
  type PackedHostWeights,
  packEightBits,
  packRounded,
} from "../model/packed_weights.ts";
import type { PackedFormat } from "../ops/half/packed_weight.ts";
import { isTable } from "../train/run/frozen_weights.ts";
import { VisionLanguageModel } from "../generate/vision_language_model.ts";
import { releasedAfterUpload } from "../model/release_memory.ts";
import { elementCount } from "../element_count.ts";
import { weightSpecs } from "../model/weight_shapes.ts";
import { RandomStream } from "../random.ts";

// B batch, T tokens, S image side

/** The sizes. */
export const BENCH_MODELS = ["tiny", "230m", "256m"] as const;

/** One of {@linkcode BENCH_MODELS}. */
export type BenchModelName = typeof BENCH_MODELS[number];

/** A model's dims and the batch of a training step. */
export interface BenchDims {
  readonly config: VLMConfig;
  /** B */
  readonly rows: number;
  /** T */
  readonly tokens: number;
}

/**
 * `tiny`: 1.95 M parameters, 32 × 48 tokens, 64 px pictures. `230m`: 228 M parameters (a ViT-B/16 at
 * 512 px and SmolLM2-135M's shape), 1 × 256 tokens. `256m`: SmolVLM-256M, of the same blocks with a
 * head of its own, and the same batch.
 */
export function benchDims(name: BenchModelName): BenchDims {
  const defaults = defaultVLMConfig();
  if (name === "tiny") {
    const config: VLMConfig = {
      ...defaults,
      vit_hidden_dim: 128,
      vit_inter_dim: 512,
      vit_patch_size: 8,
      vit_img_size: 64,
      vit_n_heads: 4,
      vit_n_blocks: 4,
      lm_hidden_dim: 128,
      lm_inter_dim: 384,
      lm_n_heads: 4,
      lm_n_kv_heads: 2,
      lm_n_blocks: 4,
      lm_vocab_size: 600,
      lm_base_vocab_size: 534,
      mp_pixel_shuffle_factor: 4,
      mp_image_token_length: 4,
    };
    return { config, rows: 32, tokens: 48 };
  }
  const config: VLMConfig = {
    ...defaults,
    lm_hidden_dim: 576,
    lm_inter_dim: 1536,
    lm_n_heads: 9,
    lm_n_kv_heads: 3,
    lm_n_blocks: 30,
  };
  if (name === "256m") {
    // The config.json of HuggingFaceTB/SmolVLM-256M-Instruct. The last row of the table stands for
    // a picture, so that ids are made as for nanoVLM.
    const vocabulary = 49280;
    const smol: VLMConfig = {
      ...config,
      lm_vocab_size: vocabulary,
      lm_base_vocab_size: vocabulary - 1,
      lm_tie_weights: false,
      vit_separate_qkv: true,
      lm_fixed_rope: true,
    };
    return { config: smol, rows: 1, tokens: 256 };
  }
  return { config, rows: 1, tokens: 256 };
}

/**
 * A fresh model of these dims on the current backend.
 *
 * @param frozen the base of adapters, that nothing trains. `BF16`: its matrices are bfloat16, as
 *   SmolLM2's files have them, and stay so; `Q8`: those of linear layers are in 8 bits, as
 *   `model.load_in_8bit` rounds them
 */
export function benchModel(
  { config }: BenchDims,
  frozen?: Exclude<PackedFormat, "F16">,
): VisionLanguageModel {
  if (frozen === undefined) {
    return VisionLanguageModel.fromConfig(config, { seed: 0, initPositionEmbedding: "normal" });
  }
  const fresh = releasedAfterUpload(
    initializeWeights(config, 0, { initPositionEmbedding: "normal" }),
  );
  const weights = function* (): Generator<[string, HostWeights | PackedHostWeights]> {
    for (const [name, values] of fresh) {
      const eight = frozen === "Q8" && !isTable(name) ? packEightBits(values) : null;
      yield [name, eight ?? packRounded(values, "BF16") ?? values];
    }
  };
  return new VisionLanguageModel(config, releasedAfterUpload(weights()), config.lm_base_vocab_size);
}

/** Numbers in all weights of a model. */
export function parameterCount({ config }: BenchDims): number {
  let count = 0;
  for (const { shape } of weightSpecs(config)) count += elementCount(shape);
  return count;
}

/** Rows of random tokens behind the tokens of one picture each. */
export function benchIds(config: VLMConfig, rows: number, tokens: number, seed = 0): number[][] {
  const random = new RandomStream(seed, "bench ids");
  const image = config.lm_base_vocab_size;
  return Array.from(
    { length: rows },
    () =>
      Array.from(
        { length: tokens },
        (_, i) => i < config.mp_image_token_length ? image : random.nextInt(image),
      ),
  );
}

/** Random pixels, [rows · 3 · S · S]. */
export function benchPixels({ vit_img_size: S }: VLMConfig, rows: number): Float32Array {
  const random = new RandomStream(0, "bench pixels");
  return Float32Array.from({ length: rows * 3 * S * S }, () => random.nextFloat());
}

/** The pictures of {@linkcode benchBatch}, one a row. */
export function benchPictures({ config, rows }: BenchDims): ImageTiles[] {
  const pixels = benchPixels(config, rows), size = pixels.length / rows;
  return Array.from(
    { length: rows },
    (_, row) => ({ tiles: pixels.subarray(row * size, (row + 1) * size), tileCount: 1 }),
  );
}

/** Ids and pictures of some rows; the tensor is the caller's. */
export function benchInputs(
  config: VLMConfig,
  rows: number,
  tokens: number,
): ModelInputs & { inputIds: number[][]; images: tf.Tensor4D } {
  const S = config.vit_img_size;
  return {
    inputIds: benchIds(config, rows, tokens),
    images: tf.tensor4d(benchPixels(config, rows), [rows, 3, S, S]),
  };
}

/** The batch of a training step: every token but those of pictures is a label. */
export function benchBatch(
  { config, rows, tokens }: BenchDims,
): ModelBatch & { images: tf.Tensor4D } {
  const inputs = benchInputs(config, rows, tokens);
  const labels = inputs.inputIds.map((ids) =>
    ids.map((_, i) => i < config.mp_image_token_length ? IGNORED_LABEL : ids[(i + 1) % tokens]).map(
      (id) => id === config.lm_base_vocab_size ? 0 : id,
    )
  );
  const batch = toModelBatch({ ...inputs, labels }, config);
  return {
    ...batch,
    images: inputs.images,
    dispose() {
      batch.dispose();
      inputs.images.dispose();
    },
  };
}
