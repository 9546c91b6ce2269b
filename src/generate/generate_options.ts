/**
 * Options and results of a generation.
 *
 * @module
 */
import type { SamplingParameters } from "./sampling_filters.ts";

// P prompts, G completions of each, S sequences still running, V vocabulary

/** How to choose tokens and when to stop. */
export interface GenerateOptions extends SamplingParameters {
  maxNewTokens: number;
  /** Take the likeliest token; temperature, top-k, top-p and min-p are not used then. */
  greedy?: boolean;
  /** Ids that end a sequence; they are part of its tokens. */
  stopTokenIds: readonly number[];
  /** Ids that are never chosen; the image token by default. */
  forbiddenTokenIds?: readonly number[];
  /** G, completions of each prompt; 1 by default. */
  numReturnSequences?: number;
  /** Seed of the random numbers. */
  seed?: number;
  /**
   * P·G ids that select each sequence's random numbers: the same id, seed and prompt give the
   * same completion in any batch. 0, 1, 2, … by default.
   */
  sequenceIds?: readonly number[];
  /**
   * P·G places in the random numbers of each sequence at which its new tokens begin, for prompts that
   * hold earlier tokens of it; 0 by default.
   */
  firstPlaces?: readonly number[];
  /** Run without the adapters. */
  withoutAdapters?: boolean;
  /**
   * Called with each new token of a sequence, in blocks if tokens are chosen on the device;
   * `true` ends the sequence ("stop"), which gets no token after this one.
   */
  onToken?: (sequence: number, token: number) => boolean | void;
  /** Called with each step's logits, [S, V] row-major, before any filter; for parity. */
  onLogits?: (sequences: readonly number[], logits: Float32Array) => void;
  /** Stops all sequences between two steps. */
  signal?: AbortSignal;
}

/** One completion. */
export interface Generation {
  /** Includes the stop token, if there is one. */
  tokens: number[];
  /**
   * Of each token, in nats, under softmax(logits / temperature), unfiltered; greedy: temperature 1.
   */
  logProbs: number[];
  /** Of each token, in nats, under the distribution that it was drawn from; greedy: 0. */
  filteredLogProbs: number[];
  /** `eos`: a stop token; `length`: maxNewTokens, or aborted; `stop`: the caller. */
  finishReason: "eos" | "length" | "stop";
}
