/**
 * Completions of prompts, and how long they took.
 *
 * @module
 */
import { answerEnds } from "../../text/answer_end.ts";
import type { GRPOSection } from "../../config/types/config_types.ts";
import { generateFromRows, type Generation } from "../../generate/engine.ts";
import { forbiddenTokenIds } from "../../generate/generate_text.ts";
import { type PicturedPrompt, promptRows } from "../../generate/prompt_rows.ts";
import type { SamplingParameters } from "../../generate/sampling_filters.ts";
import type { LoadedModel } from "../../generate/load_model.ts";
import type { Episode } from "./episodes/episode.ts";
import type { GRPOPrompt } from "./prompts.ts";

/** How completions are sampled. */
export interface SamplingSettings extends SamplingParameters {
  /** Tokens. */
  readonly maxCompletionLength: number;
  /** Of the random stream. */
  readonly seed: number;
}

/** What to sample. */
export interface SamplingRequest<P extends PicturedPrompt = GRPOPrompt> {
  readonly prompts: readonly P[];
  /** G, completions of each. */
  readonly numGenerations: number;
  /** Prompts that are answered side by side. */
  readonly promptsAtOnce: number;
  /** Number of the first completion within the run; it selects the random numbers. */
  readonly firstId: number;
  /** Number of each prompt among those that `firstId` is the first of; default: 0, 1, 2, … */
  readonly numbers?: readonly number[];
  /** Take the likeliest tokens. */
  readonly greedy?: boolean;
  /** Optimizer steps done, which an environment gets; absent in evaluations. */
  readonly step?: number;
  readonly signal?: AbortSignal;
}

/** One completion. */
export interface Completion extends Generation {
  /** Without special tokens; of several turns, the last one's. */
  readonly text: string;
  /** The conversation that it is, if an environment answers. */
  readonly episode?: Episode;
}

/** Completions with the time they took. */
export interface SampledCompletions {
  /** Those of a prompt side by side. */
  readonly completions: Completion[];
  /** Until the first token. */
  readonly prefillSeconds: number;
  /** From the first token to the end. */
  readonly decodeSeconds: number;
  /** Calls of an environment; absent without one. */
  readonly environmentSeconds?: number;
}

/** The sampling keys of a config, with those of `generation_kwargs` in their place. */
export function samplingSettings(section: GRPOSection, seed: number): SamplingSettings {
  const grpo = { ...section, ...section.generation_kwargs };
  return {
    temperature: grpo.temperature,
    topK: grpo.top_k,
    topP: grpo.top_p,
    minP: grpo.min_p ?? 0,
    repetitionPenalty: grpo.repetition_penalty,
    maxCompletionLength: grpo.max_completion_length,
    seed,
  };
}

/** Samples completions. */
export interface Sampler {
  /** @returns P·G completions; cut short if the signal is aborted */
  sample(request: SamplingRequest): Promise<SampledCompletions>;
}

/** Prompts to continue, and how. */
export interface ContinueRequest {
  readonly prompts: readonly PicturedPrompt[];
  /** Completions of each. */
  readonly numReturnSequences: number;
  /** One a completion; it selects the random numbers. */
  readonly sequenceIds: readonly number[];
  /** Tokens that each completion has already, in its prompt; default 0. */
  readonly firstPlaces?: readonly number[];
  readonly greedy?: boolean;
  readonly signal?: AbortSignal;
}

/** Samples completions from the present model. */
export class CompletionSampler implements Sampler {
  readonly #forbidden: readonly number[];

  constructor(
    readonly parts: Pick<LoadedModel, "model" | "tokenizer">,
    readonly settings: SamplingSettings,
  ) {
    this.#forbidden = forbiddenTokenIds(parts.tokenizer, parts.model.config.lm_vocab_size);
  }

  async sample(request: SamplingRequest<PicturedPrompt>): Promise<SampledCompletions> {
    const { prompts, numGenerations: G, promptsAtOnce, firstId, greedy, signal } = request;
    const numbers = request.numbers ?? prompts.map((_, p) => p);
    const completions: Completion[] = [];
    let prefillSeconds = 0, decodeSeconds = 0;
    for (let first = 0; first < prompts.length && !signal?.aborted; first += promptsAtOnce) {
      const chunk = prompts.slice(first, first + promptsAtOnce);
      const done = await this.continue({
        prompts: chunk,
        numReturnSequences: G,
        sequenceIds: numbers.slice(first, first + chunk.length).flatMap((number) =>
          Array.from({ length: G }, (_, g) => firstId + number * G + g)
        ),
        greedy,
        signal,
      });
      completions.push(...done.completions);
      prefillSeconds += done.prefillSeconds;
      decodeSeconds += done.decodeSeconds;
    }
    return { completions, prefillSeconds, decodeSeconds };
  }

  /**
   * Continues prompts side by side, each completion until it has `maxCompletionLength` tokens with
   * those that it had.
   */
  async continue(request: ContinueRequest): Promise<SampledCompletions> {
    const { prompts, firstPlaces, ...chosen } = request;
    const { maxCompletionLength, seed, ...filters } = this.settings;
    const { model, tokenizer } = this.parts;
    const started = performance.now();
    let firstTokenAt: number | null = null;
    const room = (sequence: number) => maxCompletionLength - (firstPlaces?.[sequence] ?? 0);
    const lengths = chosen.sequenceIds.map(() => 0);
    const generations = await generateFromRows(
      model,
      promptRows(prompts),
      tokenizer.padTokenId,
      {
        ...filters,
        ...chosen,
        firstPlaces,
        maxNewTokens: Math.max(...lengths.map((_, sequence) => room(sequence))),
        seed,
        stopTokenIds: answerEnds(tokenizer).stops,
        forbiddenTokenIds: this.#forbidden,
        onToken: (sequence) => {
          firstTokenAt ??= performance.now();
          return ++lengths[sequence] >= room(sequence);
        },
      },
    );
    const ended = performance.now();
    const completions = generations.map((generation): Completion => ({
      ...generation,
      // Its room is used up.
      finishReason: generation.finishReason === "stop" ? "length" : generation.finishReason,
      text: tokenizer.decodeAnswer(generation.tokens),
    }));
    return {
      completions,
      prefillSeconds: ((firstTokenAt ?? ended) - started) / 1000,
      decodeSeconds: (ended - (firstTokenAt ?? ended)) / 1000,
    };
  }
}
