/**
 * Answers requests together: one queue in front of running batches, a batch for each set of adapters.
 *
 * @module
 */
import { answerEnds } from "../text/answer_end.ts";
import { CompletionText, forbiddenTokenIds, type PromptImage } from "../generate/generate_text.ts";
import type { LoadedModel } from "../generate/load_model.ts";
import { type BatchSequence, type EndReason, RunningBatch } from "../generate/running_batch.ts";
import type { SamplingParameters } from "../generate/sampling_filters.ts";
import type { PassOptions } from "../model/vlm.ts";
import { ChatExampleBuilder, type ConversationMessage } from "../text/chat_example.ts";
import { ImageGridError } from "../text/image_string.ts";
import { ApiError } from "./api_error.ts";
import { type ChosenTokenLogProb, chosenTokenLogProb } from "./token_log_probs.ts";

/** Bounds of an engine. */
export interface EngineLimits {
  /** Answers that are written at the same time. */
  readonly running: number;
  /** Answers that wait for a place. */
  readonly waiting: number;
}

/** A conversation to answer. */
export interface ChatPrompt {
  /** Which model: a name of the engine's. */
  readonly model: string;
  readonly messages: readonly ConversationMessage[];
  readonly images: readonly PromptImage[];
  readonly sampling: SamplingParameters & { readonly greedy?: boolean };
  readonly seed: number;
  /** Number of answers. */
  readonly n: number;
  /** Longest answer, tokens; undefined: what the model's context leaves. */
  readonly maxTokens: number | undefined;
  readonly stop: readonly string[];
  /** Likeliest tokens to report at each place; null: no log-probabilities. */
  readonly topLogProbs: number | null;
}

/** What happens to an answer; `choice` counts the answers of a prompt from 0. */
export interface ChatEvents {
  /** Text that is final, maybe none, and the tokens since the last call. */
  onText(choice: number, text: string, logProbs: readonly ChosenTokenLogProb[]): void;
  onEnd(choice: number, reason: EndReason): void;
  /** Called once for the whole prompt; its other answers end without a word. */
  onFail(error: unknown): void;
}

/** A prompt that was accepted. */
export interface AcceptedPrompt {
  readonly promptTokens: number;
  /** Tokens of all its answers so far, the stop tokens included. */
  readonly completionTokens: number;
  /** Drops what is not written yet. */
  cancel(): void;
}

/** A sequence that has no place yet. */
interface Waiting {
  readonly batch: RunningBatch;
  readonly sequence: BatchSequence;
}

/** Answers prompts of a model and of its adapters. */
export class ChatEngine {
  readonly #loaded: LoadedModel;
  readonly #limits: EngineLimits;
  readonly #builder: ChatExampleBuilder;
  readonly #forbidden: readonly number[];
  /** The running sequences of each model, by its name. */
  readonly #batches = new Map<string, RunningBatch>();
  /** Of all models, in the order in which they came. */
  #waiting: Waiting[] = [];
  #loop: Promise<void> | null = null;
  #tokens = 0;

  /**
   * @param loaded stays the caller's
   * @param passes how each model is computed, by its name
   */
  constructor(
    loaded: LoadedModel,
    passes: ReadonlyMap<string, PassOptions>,
    limits: EngineLimits,
  ) {
    const { model, tokenizer } = loaded;
    this.#loaded = loaded;
    this.#limits = limits;
    this.#builder = new ChatExampleBuilder(tokenizer, {
      mpImageTokenLength: model.config.mp_image_token_length,
    });
    this.#forbidden = forbiddenTokenIds(tokenizer, model.config.lm_vocab_size);
    for (const [name, pass] of passes) {
      const batch = new RunningBatch(model, {
        ...pass,
        padTokenId: tokenizer.padTokenId,
        forbidden: this.#forbidden,
      });
      this.#batches.set(name, batch);
    }
  }

  /** Answers that are being written. */
  get running(): number {
    return [...this.#batches.values()].reduce((sum, { size }) => sum + size, 0);
  }

  /** Answers that wait. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Tokens chosen since the start. */
  get tokens(): number {
    return this.#tokens;
  }

  /** Whether nothing runs or waits, now or soon. */
  async idle(): Promise<void> {
    while (this.#loop !== null) await this.#loop;
  }

  /**
   * Takes a prompt into the queue.
   *
   * @throws {ApiError} 400 if it does not fit the model's context, 404 if there is no such model, 429
   *   if the queue is full
   */
  submit(prompt: ChatPrompt, events: ChatEvents): AcceptedPrompt {
    const batch = this.#batches.get(prompt.model);
    if (batch === undefined) {
      throw new ApiError(
        404,
        `there is no model ${prompt.model} here; want one of ${
          [...this.#batches.keys()].join(", ")
        }`,
        { code: "model_not_found", param: "model" },
      );
    }
    const ids = this.#idsOf(prompt);
    const room = this.#loaded.model.config.lm_max_position_embeddings - ids.length;
    const maxNewTokens = prompt.maxTokens ?? room;
    if (maxNewTokens > room || room < 1) {
      throw new ApiError(
        400,
        `the prompt has ${ids.length} tokens and the answer may have ${maxNewTokens}; the model's ` +
          `context holds ${ids.length + room}`,
        { code: "context_length_exceeded", param: "messages" },
      );
    }
    if (this.waiting + prompt.n > this.#limits.waiting) {
      throw new ApiError(
        429,
        `${this.waiting} answers wait already, and ${this.#limits.waiting} may; try again later`,
        { code: "queue_full" },
      );
    }
    const accepted = new RunningPrompt(ids.length, (sequences) => this.#drop(batch, sequences));
    accepted.sequences = Array.from(
      { length: prompt.n },
      (_, choice) => this.#sequence(prompt, ids, maxNewTokens, choice, events, accepted),
    );
    this.#waiting.push(...accepted.sequences.map((sequence) => ({ batch, sequence })));
    this.#loop ??= this.#run();
    return accepted;
  }

  #idsOf({ messages, images }: ChatPrompt): number[] {
    try {
      return this.#builder.buildPrompt(messages, images.map(({ grid }) => grid));
    } catch (error) {
      if (!(error instanceof ImageGridError)) throw error;
      throw new ApiError(400, error.message, { code: "invalid_image", param: "messages" });
    }
  }

  #sequence(
    prompt: ChatPrompt,
    ids: readonly number[],
    maxNewTokens: number,
    choice: number,
    events: ChatEvents,
    accepted: RunningPrompt,
  ): BatchSequence {
    const { tokenizer } = this.#loaded;
    const stopTokenIds = answerEnds(tokenizer).stops;
    const text = new CompletionText(tokenizer, prompt.stop);
    const { greedy = false, temperature = 1 } = prompt.sampling;
    const isPlain = greedy || temperature === 1;
    let pending: ChosenTokenLogProb[] = [];
    const tell = (piece: string) => {
      if (piece === "" && pending.length === 0) return;
      events.onText(choice, piece, pending);
      pending = [];
    };
    return {
      ids,
      images: prompt.images,
      sampling: prompt.sampling,
      seed: prompt.seed,
      sequenceId: choice,
      maxNewTokens,
      stopTokenIds,
      onToken: ({ token, logits, logProb }) => {
        this.#tokens++;
        accepted.completionTokens++;
        if (stopTokenIds.includes(token)) return false;
        if (prompt.topLogProbs !== null) {
          pending.push(chosenTokenLogProb(tokenizer, token, logits, {
            top: prompt.topLogProbs,
            // At temperature 1, that of greedy answers too, the choice has computed it.
            logProb: isPlain ? logProb : undefined,
          }));
        }
        tell(text.push(token));
        return text.stopped;
      },
      onEnd: (reason) => {
        tell(text.finish());
        events.onEnd(choice, reason);
      },
      onFail: (error) => {
        accepted.cancel();
        events.onFail(error);
      },
    };
  }

  #drop(batch: RunningBatch, sequences: ReadonlySet<BatchSequence>): void {
    this.#waiting = this.#waiting.filter(({ sequence }) => !sequences.has(sequence));
    batch.removeLater(sequences);
  }

  /** Decodes until nothing runs or waits. */
  async #run(): Promise<void> {
    // Requests that arrive together begin together.
    await turn();
    while (this.running + this.waiting > 0) {
      this.#admit();
      for (const batch of this.#batches.values()) {
        if (batch.size === 0) continue;
        await this.#step(batch);
        // Long work on the CPU would keep sockets and timers waiting.
        await turn();
      }
    }
    // At once, so that a prompt that comes next starts the loop again.
    this.#loop = null;
  }

  /** Gives the free places to those that came first. */
  #admit(): void {
    const places = Math.max(0, this.#limits.running - this.running);
    const admitted = this.#waiting.splice(0, places);
    for (const batch of this.#batches.values()) {
      const own = admitted.flatMap((one) => one.batch === batch ? [one.sequence] : []);
      try {
        batch.admit(byPictures(own));
      } catch (error) {
        for (const sequence of own) sequence.onFail(error);
      }
    }
  }

  /** Decodes one token of each answer. */
  async #step(batch: RunningBatch): Promise<void> {
    const sequences = batch.sequences;
    try {
      await batch.step();
    } catch (error) {
      batch.dispose();
      for (const sequence of sequences) sequence.onFail(error);
    }
  }
}

/** A prompt whose answers wait or are written. */
class RunningPrompt implements AcceptedPrompt {
  completionTokens = 0;
  sequences: readonly BatchSequence[] = [];

  constructor(
    readonly promptTokens: number,
    readonly drop: (sequences: ReadonlySet<BatchSequence>) => void,
  ) {}

  cancel(): void {
    const own = new Set(this.sequences);
    this.sequences = [];
    this.drop(own);
  }
}

/** Prompts about the same pictures next to each other, so that they share their encoding. */
function byPictures(sequences: readonly BatchSequence[]): BatchSequence[] {
  const groups = new Map<unknown, BatchSequence[]>();
  sequences.forEach((sequence, i) => {
    const key = sequence.images[0] ?? i;
    groups.set(key, [...groups.get(key) ?? [], sequence]);
  });
  return [...groups.values()].flat();
}

/** Lets sockets, timers and signals have their turn. */
function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
