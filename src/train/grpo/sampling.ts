/**
 * Completions of prompts, and how long they took.
 *
 * @module
 */
import { answerEnds } from "../../text/answer_end.ts";
import type { GRPOSection } from "../../config/types/config_types.ts";
import { generateFromRows, type Generation } from "../../generate/engine.ts";
import { forbiddenTokenIds } from "../../generate/generate_text.ts";
import { promptRows } from "../../generate/prompt_rows.ts";
import type { SamplingParameters } from "../../generate/sampling_filters.ts";
import type { LoadedModel } from "../../generate/load_model.ts";
import type { GRPOPrompt } from "./prompts.ts";

/** How completions are sampled. */
export interface SamplingSettings extends SamplingParameters {
  /** Tokens. */
  readonly maxCompletionLength: number;
  /** Of the random stream. */
  readonly seed: number;
}

/** What to sample. */
export interface SamplingRequest {
  readonly prompts: readonly GRPOPrompt[];
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
  readonly signal?: AbortSignal;
}

/** One completion. */
export interface Completion extends Generation {
  /** Without special tokens. */
  readonly text: string;
}

/** Completions with the time they took. */
export interface SampledCompletions {
  /** Those of a prompt side by side. */
  readonly completions: Completion[];
  /** Until the first token. */
  readonly prefillSeconds: number;
  /** From the first token to the end. */
  readonly decodeSeconds: number;
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

/** Samples completions from the present model. */
export class CompletionSampler {
  readonly #forbidden: readonly number[];

  constructor(
    readonly parts: Pick<LoadedModel, "model" | "tokenizer">,
    readonly settings: SamplingSettings,
  ) {
    this.#forbidden = forbiddenTokenIds(parts.tokenizer, parts.model.config.lm_vocab_size);
  }

  /** @returns P·G completions; cut short if the signal is aborted */
  async sample(request: SamplingRequest): Promise<SampledCompletions> {
    const { prompts, numGenerations: G, promptsAtOnce, firstId, greedy, signal } = request;
    const numbers = request.numbers ?? prompts.map((_, p) => p);
    const { maxCompletionLength, seed, ...filters } = this.settings;
    const { model, tokenizer } = this.parts;
    const completions: Completion[] = [];
    let prefill = 0, decode = 0;
    for (let first = 0; first < prompts.length && !signal?.aborted; first += promptsAtOnce) {
      const chunk = prompts.slice(first, first + promptsAtOnce);
      const started = performance.now();
      let firstTokenAt: number | null = null;
      const generations = await generateFromRows(
        model,
        promptRows(chunk),
        tokenizer.padTokenId,
        {
          ...filters,
          maxNewTokens: maxCompletionLength,
          greedy,
          seed,
          numReturnSequences: G,
          sequenceIds: numbers.slice(first, first + chunk.length).flatMap((number) =>
            Array.from({ length: G }, (_, g) => firstId + number * G + g)
          ),
          stopTokenIds: answerEnds(tokenizer).stops,
          forbiddenTokenIds: this.#forbidden,
          onToken: () => {
            firstTokenAt ??= performance.now();
          },
          signal,
        },
      );
      const ended = performance.now();
      prefill += (firstTokenAt ?? ended) - started;
      decode += ended - (firstTokenAt ?? ended);
      for (const generation of generations) {
        const text = tokenizer.decodeAnswer(generation.tokens);
        completions.push({ ...generation, text });
      }
    }
    return { completions, prefillSeconds: prefill / 1000, decodeSeconds: decode / 1000 };
  }
}
