/**
 * Whose answers a step of GKD distils: the data's, the student's own, or the teacher's.
 *
 * @module
 */
import { RandomStream } from "../../random.ts";
import type { PromptedAnswer } from "../batches/prompted_answer.ts";
import type { CompletionSampler } from "../grpo/sampling.ts";

/** Who answers. */
export type AnswerSource = "data" | "student" | "teacher";

/** How answers are chosen. */
export interface AnswerOptions {
  /** Share of the steps with the student's own answers. */
  readonly lmbda: number;
  /** Whether the teacher answers in the other steps; else the data's answers are taken. */
  readonly seqKd: boolean;
  readonly seed: number;
}

/**
 * Whose answers a step takes: one draw a step (algorithm 1 of the paper; TRL draws for each
 * micro-batch).
 *
 * @param step optimizer steps done
 */
export function answerSource(step: number, { lmbda, seqKd, seed }: AnswerOptions): AnswerSource {
  if (new RandomStream(seed, `gkd step ${step}`).nextFloat() < lmbda) return "student";
  return seqKd ? "teacher" : "data";
}

/** What samples answers. */
export type AnswerSampler = Pick<CompletionSampler, "sample">;

/** Prompts whose answers are to be replaced. */
export interface AnswerRequest {
  readonly examples: readonly PromptedAnswer[];
  /** Of each prompt among all of the run; it selects the random numbers. */
  readonly ids: readonly number[];
  /** Longest sequence, tokens. */
  readonly maxLength: number;
  readonly signal?: AbortSignal;
}

/**
 * The same prompts with sampled answers.
 *
 * @returns null if the signal was aborted
 */
export async function sampledAnswers(
  sampler: AnswerSampler,
  { examples, ids, maxLength, signal }: AnswerRequest,
): Promise<PromptedAnswer[] | null> {
  if (examples.length === 0) return [];
  const { completions } = await sampler.sample({
    prompts: examples.map(({ promptIds, images }) => ({ ids: promptIds, images })),
    numbers: ids,
    numGenerations: 1,
    promptsAtOnce: examples.length,
    firstId: 0,
    signal,
  });
  if (signal?.aborted) return null;
  return examples.map((example, i) => ({
    ...example,
    answerIds: completions[i].tokens.slice(0, maxLength - example.promptIds.length),
  }));
}
