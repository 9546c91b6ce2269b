/**
 * Token-by-token generation: the prompts are read once, then each step runs the new tokens alone
 * against cached keys and values. Rows that have finished leave the batch.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../device/read_back.ts";
import { type ModelInputs, toModelBatch } from "../model/batch.ts";
import type { VisionLanguageModel } from "../model/vision_language_model.ts";
import { AttentionLayout } from "../ops/attention_layout.ts";
import { linear } from "../ops/linear.ts";
import { RandomStream } from "../random.ts";
import { GrowingCache } from "./key_value_cache.ts";
import { sampleFromLogits, type SamplingParameters } from "./sampling_filters.ts";

// B rows still running, V vocabulary

/** How to choose tokens and when to stop. */
export interface GenerateOptions extends SamplingParameters {
  maxNewTokens: number;
  /** Take the likeliest token; the sampling parameters are not used then. */
  greedy?: boolean;
  /** Ids that end a row; they are part of its tokens. */
  stopTokenIds: readonly number[];
  /** Of the random stream; each row has its own, whatever the batch. */
  seed?: number;
  /** Run without the adapters. */
  withoutAdapters?: boolean;
  /**
   * Called with each new token of a row; `true` ends the row ("stop").
   */
  onToken?: (row: number, token: number) => boolean | void;
  /** Called with each step's logits, [B, V] row-major, before any filter; for parity. */
  onLogits?: (rows: readonly number[], logits: Float32Array) => void;
  /** Stops all rows between two steps. */
  signal?: AbortSignal;
}

/** One row's new tokens. */
export interface Generation {
  /** The stop token included, where there is one. */
  tokens: number[];
  /** `eos`: a stop token; `length`: maxNewTokens; `stop`: the caller. */
  finishReason: "eos" | "length" | "stop";
}

/** Index of the largest number; the first of several. */
function argMax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}

/** Hidden states of the last token of each row → logits on the host, [B, V]. */
async function lastLogits(model: VisionLanguageModel, last: tf.Tensor2D): Promise<Float32Array> {
  const logits = tf.tidy(() => linear(last, model.head));
  last.dispose();
  const [values] = await readBack([logits]);
  logits.dispose();
  return values as Float32Array;
}

/**
 * Generates answers to a left-padded batch of prompts.
 *
 * @param model the model
 * @param inputs prompts [B, T] with their images; labels are not used
 * @param options how to choose and when to stop
 * @returns one result a row
 */
export async function generateTokens(
  model: VisionLanguageModel,
  inputs: ModelInputs,
  options: GenerateOptions,
): Promise<Generation[]> {
  const batch = toModelBatch(inputs, model.config);
  const { batchSize, tokens: promptLength } = batch;
  const results: Generation[] = Array.from(
    { length: batchSize },
    () => ({ tokens: [], finishReason: "length" }),
  );
  if (options.maxNewTokens < 1) {
    batch.dispose();
    return results;
  }
  const streams = results.map((_, row) =>
    new RandomStream(options.seed ?? 0, `generation of row ${row}`)
  );
  const pass = { withoutAdapters: options.withoutAdapters };
  const cache = new GrowingCache();
  let starts = batch.layout.starts;
  let running = results.map((_, row) => row);
  try {
    let last = tf.tidy(() => {
      const images = batch.images ? model.encodeImages(batch.images, pass) : null;
      const embeddings = model.embed(batch.inputIds, images)
        .reshape([batchSize, promptLength, -1]) as tf.Tensor3D; // [B, T, C]
      const hidden = model.decode(embeddings, batch.positions, batch.layout, cache, pass);
      return hidden.slice([0, promptLength - 1, 0], [-1, 1, -1]).squeeze([1]) as tf.Tensor2D;
    }); // [B, C]
    for (let step = 0;; step++) {
      const logits = await lastLogits(model, last);
      options.onLogits?.(running, logits);
      const vocabulary = model.config.lm_vocab_size;
      const next: number[] = [], kept: number[] = [];
      running.forEach((row, b) => {
        const scores = logits.subarray(b * vocabulary, (b + 1) * vocabulary);
        const token = options.greedy
          ? argMax(scores)
          : sampleFromLogits(scores, options, streams[row].nextFloat()).token;
        const result = results[row];
        result.tokens.push(token);
        const stopped = options.onToken?.(row, token) === true;
        if (options.stopTokenIds.includes(token)) result.finishReason = "eos";
        else if (stopped) result.finishReason = "stop";
        else {
          next.push(token);
          kept.push(b);
        }
      });
      if (kept.length === 0 || step + 1 >= options.maxNewTokens || options.signal?.aborted) break;
      if (kept.length < running.length) {
        cache.keepRows(Int32Array.from(kept));
        starts = Int32Array.from(kept, (b) => starts[b]);
        running = kept.map((b) => running[b]);
      }
      const position = promptLength + step;
      last = tf.tidy(() => {
        const embeddings = model.embed(Int32Array.from(next), null).expandDims(1) as tf.Tensor3D;
        const layout = AttentionLayout.decode(starts, position + 1);
        const positions = new Int32Array(next.length).fill(position);
        const hidden = model.decode(embeddings, positions, layout, cache, pass); // [B, 1, C]
        layout.dispose();
        return hidden.squeeze([1]) as tf.Tensor2D; // [B, C]
      });
    }
  } finally {
    cache.dispose();
    batch.dispose();
  }
  return results;
}
