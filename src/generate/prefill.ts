/**
 * The first pass of a generation: reads the prompts and keeps their keys and values.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { ModelBatch } from "../model/batch.ts";
import type { PassOptions, VLM } from "../model/vlm.ts";
import { type DecodeState, PrefillCache, type PrefilledSequence } from "./decode_state.ts";
import type { PromptPlace } from "./prompt_rows.ts";
import { SeparateRows } from "./separate_rows.ts";
import { SharedRows } from "./shared_rows.ts";

// B rows and T tokens of the prompts, P prompts, S sequences, V vocabulary, C channels

/** What to read. */
export interface PrefillInputs {
  readonly batch: ModelBatch;
  /** One a prompt. */
  readonly places: readonly PromptPlace[];
  /** Completions of each prompt. */
  readonly copies: number;
  /** Embeddings of the batch's images, [N·L, C]. */
  readonly encodeImages: () => tf.Tensor2D | null;
  /** Longest completion, tokens. */
  readonly maxNewTokens: number;
}

/** The sequences after the prefill, owned by the caller. */
export interface Prefilled {
  readonly state: DecodeState;
  /** Logits of the first new tokens, [S, V]; the completions of a prompt follow one another. */
  readonly logits: tf.Tensor2D;
}

/** Reads prompts in one pass. */
export function prefill(model: VLM, inputs: PrefillInputs, pass: PassOptions): Prefilled {
  const { batch, places, copies, encodeImages, maxNewTokens } = inputs;
  const { batchSize: B, tokens: T } = batch;
  const cache = new PrefillCache();
  const lastTokens = places.map(({ row, prefixEnd, branchStart, branchEnd }) =>
    row * T + (branchEnd > branchStart ? branchEnd : prefixEnd) - 1
  );
  const promptOf = Array.from(
    { length: places.length * copies },
    (_, sequence) => Math.floor(sequence / copies),
  );
  let logits: tf.Tensor2D | null = null;
  try {
    logits = tf.tidy(() => {
      const embeddings = model.embed(batch.inputIds, encodeImages())
        .reshape([B, T, -1]) as tf.Tensor3D; // [B, T, C]
      const hidden = model.decode(embeddings, batch.positions, batch.layout, cache, pass);
      const rows = hidden.reshape([B * T, -1]); // [B·T, C]
      const last = tf.gather(rows, tf.tensor1d(lastTokens, "int32")); // [P, C]
      const first = model.logits(last, pass) as tf.Tensor2D; // [P, V]
      if (copies === 1) return first;
      return tf.gather(first, tf.tensor1d(promptOf, "int32")); // [S, V]
    });
    const sequences = promptOf.map((prompt): PrefilledSequence => ({
      ...places[prompt],
      position: batch.positions[lastTokens[prompt]] + 1,
    }));
    const state = tf.getBackend() === "wasm"
      ? new SharedRows(cache, sequences, maxNewTokens)
      : new SeparateRows(cache, sequences);
    return { state, logits };
  } catch (error) {
    logits?.dispose();
    cache.dispose();
    throw error;
  }
}

/**
 * One sequence after the other, of two states of one model and backend.
 *
 * @param own gets the sequences of `added` after its own; `added` is empty then
 */
export function absorbState(own: DecodeState, added: DecodeState): void {
  if (own instanceof SharedRows && added instanceof SharedRows) return own.absorb(added);
  if (own instanceof SeparateRows && added instanceof SeparateRows) return own.absorb(added);
  throw new TypeError("Cannot join running sequences: they are of two backends");
}
