/**
 * A batch that sequences enter and leave between tokens: what a server decodes with.
 *
 * Each sequence has its own sampling, limit and stop tokens. Its random numbers depend on its own seed
 * and id alone, so that its tokens do not depend on which other sequences run beside it, up to
 * rounding.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../device/read_back.ts";
import type { PassOptions, VLM } from "../model/vlm.ts";
import { chooseToken } from "./choose_token.ts";
import type { DecodeState } from "./decode_state.ts";
import { encodeDistinct } from "./encode_pictures.ts";
import { absorbState, prefill } from "./prefill.ts";
import { packPrompts, type PicturedPrompt, promptRows } from "./prompt_rows.ts";
import { checkSamplingParameters, type SamplingParameters } from "./sampling_filters.ts";
import { tokenUniform } from "./token_uniform.ts";

// S running sequences, V vocabulary

/** Why a sequence ended: a stop token, its limit, or its `onToken`. */
export type EndReason = "eos" | "length" | "stop";

/** A token that was chosen, and the row of logits that it was chosen from. */
export interface NextToken {
  readonly token: number;
  /** Nats, under softmax(logits / temperature); greedy: temperature 1. */
  readonly logProb: number;
  /** [V]; valid during the call only. */
  readonly logits: Float32Array;
}

/** A prompt to continue. */
export interface BatchSequence extends PicturedPrompt {
  readonly sampling: SamplingParameters & { readonly greedy?: boolean };
  readonly seed: number;
  /** Selects its random numbers. */
  readonly sequenceId: number;
  readonly maxNewTokens: number;
  /** Ids that end it. */
  readonly stopTokenIds: readonly number[];
  /** Called with each token, the stop token included; `true` ends the sequence. */
  readonly onToken: (next: NextToken) => boolean | void;
  /** Called once, after its last token. */
  readonly onEnd: (reason: EndReason) => void;
  /** Called once instead, if no token can be chosen: the model's output is not a number. */
  readonly onFail: (error: unknown) => void;
}

/** A running sequence. */
interface Running {
  readonly sequence: BatchSequence;
  /** Tokens chosen so far. */
  readonly tokens: number[];
}

/** Sequences that are decoded together. It owns its tensors. */
export class RunningBatch {
  readonly #model: VLM;
  readonly #pass: PassOptions;
  readonly #forbidden: readonly number[];
  readonly #padTokenId: number;
  readonly #leaving = new Set<BatchSequence>();
  #running: Running[] = [];
  #state: DecodeState | null = null;
  #logits: tf.Tensor2D | null = null;

  /**
   * @param model stays the caller's
   * @param padTokenId fills the padding of prompts of different lengths; no image token
   * @param forbidden ids that are never chosen
   */
  constructor(
    model: VLM,
    { padTokenId, forbidden, ...pass }: PassOptions & {
      readonly padTokenId: number;
      readonly forbidden: readonly number[];
    },
  ) {
    this.#model = model;
    this.#pass = pass;
    this.#padTokenId = padTokenId;
    this.#forbidden = forbidden;
  }

  /** Number of running sequences. */
  get size(): number {
    return this.#running.length;
  }

  /**
   * Reads prompts and adds them to the batch. Neighbours with the same picture objects share a prefix.
   *
   * @throws {RangeError} if a sampling parameter is out of range
   * @throws {TypeError} if a prompt is empty or has an unknown token
   */
  admit(sequences: readonly BatchSequence[]): void {
    if (sequences.length === 0) return;
    for (const { sampling } of sequences) checkSamplingParameters(sampling);
    const { batch, places, images } = packPrompts(
      promptRows(sequences),
      this.#padTokenId,
      this.#model.imageTokenId,
      this.#model.config,
    );
    try {
      const added = prefill(this.#model, {
        ...{ batch, places, copies: 1 },
        encodeImages: () => encodeDistinct(this.#model, images, this.#pass),
        maxNewTokens: Math.max(...sequences.map(({ maxNewTokens }) => maxNewTokens)),
      }, this.#pass);
      this.#join(added.state, added.logits);
    } finally {
      batch.dispose();
    }
    this.#running.push(...sequences.map((sequence) => ({ sequence, tokens: [] })));
  }

  #join(state: DecodeState, logits: tf.Tensor2D): void {
    if (this.#state === null || this.#logits === null) {
      this.#state = state;
      this.#logits = logits;
      return;
    }
    try {
      const before = this.#logits;
      this.#logits = tf.concat([before, logits]);
      before.dispose();
      absorbState(this.#state, state);
    } finally {
      logits.dispose();
    }
  }

  /** Chooses the next token of each sequence and computes the logits after it. */
  async step(): Promise<void> {
    const { config } = this.#model;
    this.#removeLeaving();
    if (this.#logits === null || this.#state === null) return;
    const [read] = await readBack([this.#logits]);
    const V = config.lm_vocab_size;
    const kept: number[] = [], next: number[] = [];
    this.#running.forEach((running, i) => {
      const logits = (read as Float32Array).subarray(i * V, (i + 1) * V);
      const token = this.#chooseOrFail(running, logits);
      if (token === null) return;
      kept.push(i);
      next.push(token);
    });
    this.#keep(kept);
    if (kept.length > 0) this.#decode(next);
  }

  /** As `#choose`; a sequence that fails ends alone. */
  #chooseOrFail(running: Running, logits: Float32Array): number | null {
    try {
      return this.#choose(running, logits);
    } catch (error) {
      running.sequence.onFail(error);
      return null;
    }
  }

  /** @returns the chosen token, or null if it was the sequence's last */
  #choose({ sequence, tokens }: Running, logits: Float32Array): number | null {
    const { sampling, seed, sequenceId, ids, maxNewTokens, stopTokenIds } = sequence;
    const penalised = (sampling.repetitionPenalty ?? 1) !== 1;
    const { token, logProb } = chooseToken(
      logits,
      sampling,
      tokenUniform(seed, sequenceId, tokens.length),
      {
        forbidden: this.#forbidden,
        previousTokens: penalised ? [...ids, ...tokens] : [],
      },
    );
    if (!Number.isFinite(logProb)) {
      throw new RangeError("Cannot choose a token: the model's output is not a number");
    }
    tokens.push(token);
    const stopped = sequence.onToken({ token, logProb, logits }) === true;
    const reason: EndReason | null = stopTokenIds.includes(token)
      ? "eos"
      : stopped
      ? "stop"
      : tokens.length >= maxNewTokens
      ? "length"
      : null;
    if (reason === null) return token;
    sequence.onEnd(reason);
    return null;
  }

  #decode(next: readonly number[]): void {
    const model = this.#model, state = this.#state!;
    const before = this.#logits!;
    this.#logits = tf.tidy(() => {
      const embeddings = model.embed(Int32Array.from(next), null); // [S, C]
      const hidden = state.step({ model, options: this.#pass }, embeddings); // [S, C]
      return model.logits(hidden, this.#pass) as tf.Tensor2D; // [S, V]
    });
    before.dispose();
  }

  /** The running sequences, in the order of their admission. */
  get sequences(): BatchSequence[] {
    return this.#running.map(({ sequence }) => sequence);
  }

  /**
   * Removes sequences that have not ended before the next token is chosen. It may be called at any time,
   * within `onToken` too; those that are not in the batch are ignored.
   */
  removeLater(sequences: Iterable<BatchSequence>): void {
    const gone = new Set(sequences);
    for (const { sequence } of this.#running) {
      if (gone.has(sequence)) this.#leaving.add(sequence);
    }
  }

  #removeLeaving(): void {
    if (this.#leaving.size === 0) return;
    const kept = this.#running.flatMap(({ sequence }, i) => this.#leaving.has(sequence) ? [] : [i]);
    this.#leaving.clear();
    if (kept.length === this.#running.length) return;
    const before = this.#logits;
    if (before !== null && kept.length > 0) {
      this.#logits = tf.tidy(() => tf.gather(before, tf.tensor1d(kept, "int32")));
      before.dispose();
    }
    this.#keep(kept);
  }

  /** Keeps the sequences at these indices; without any, frees everything. */
  #keep(kept: readonly number[]): void {
    if (kept.length === this.#running.length) return;
    this.#running = kept.map((i) => this.#running[i]);
    if (kept.length === 0) this.dispose();
    else this.#state?.keep(Int32Array.from(kept));
  }

  /** Frees everything and drops the sequences without a word to them. */
  dispose(): void {
    this.#state?.dispose();
    this.#logits?.dispose();
    this.#state = null;
    this.#logits = null;
    this.#running = [];
    this.#leaving.clear();
  }
}
