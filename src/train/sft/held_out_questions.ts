/**
 * All held-out questions of an SFT run, asked before and after training.
 *
 * @module
 */
import type { Dataset } from "../../data/dataset.ts";
import type { VqaExample } from "../../data/rows/formats.ts";
import { evaluateVqa } from "../../evaluate/evaluate_vqa.ts";
import type { LoadedModel } from "../../generate/load_model.ts";
import type { VisionLanguageModel } from "../../generate/vision_language_model.ts";
import { chooseAnswers } from "../../report/choose_answers.ts";
import type { EvaluationSample } from "../../report/evaluation_sample.ts";
import type { TrainingMethod } from "../loop/training_method.ts";
import { type BeforeTraining, isQuickToMeasure } from "../run/before_training.ts";

/** Rows that are asked, at most. */
const MOST_ROWS = 10_000;
/** Rows that are asked before training, at most: the first step should not wait for long. */
const ROWS_BEFORE = 60;
/** Longest answer, tokens; the answers of the data are short. */
const ANSWER_TOKENS = 16;
/** Questions that are answered side by side. */
const BATCH_SIZE = 128;

/** Names a question of a run: its example's place in the held-out data, and its turn. */
export function questionId(index: number, turn: number): string {
  return `${index}.${turn}`;
}

/** What {@linkcode askBeforeTraining} asks and measures. */
export interface QuestionsBefore {
  readonly method: TrainingMethod;
  readonly model: VisionLanguageModel;
  /** null: nothing is held out. */
  readonly heldOut: Dataset<VqaExample> | null;
  /** Asks a few questions; null: nothing is held out. */
  readonly samples: ((signal?: AbortSignal) => Promise<readonly EvaluationSample[]>) | null;
  /** null: answers are too long to be compared. */
  readonly questions: HeldOutQuestions | null;
}

/**
 * Measures and asks before the first step: everything if that is quick, else a few questions.
 *
 * @param signal ends it, with its reason as the error
 * @returns null if nothing is held out
 */
export async function askBeforeTraining(
  { method, model, heldOut, samples, questions }: QuestionsBefore,
  signal?: AbortSignal,
): Promise<BeforeTraining | null> {
  if (!isQuickToMeasure(model, heldOut)) {
    return samples && { metrics: null, samples: await samples(signal) };
  }
  const outcome = await method.evaluate(signal);
  const all = await questions?.askBefore(signal);
  return outcome && { ...outcome, ...(all ? { all } : {}) };
}

/** Held-out questions and the answers of the model to them. */
export class HeldOutQuestions {
  readonly #loaded: LoadedModel;
  readonly #dataset: Dataset<VqaExample>;
  #before: readonly EvaluationSample[] | null = null;

  /**
   * @param loaded the model as it is at each time
   * @param dataset held out
   * @param thing what is new about them: `questions` if training rows show some of their pictures
   */
  constructor(
    loaded: LoadedModel,
    dataset: Dataset<VqaExample>,
    readonly thing: "pictures" | "questions",
  ) {
    this.#loaded = loaded;
    this.#dataset = dataset.length <= MOST_ROWS
      ? dataset
      : dataset.select(Array.from({ length: MOST_ROWS }, (_, i) => i));
  }

  /** The answers before training; null if they were not asked for. */
  get before(): readonly EvaluationSample[] | null {
    return this.#before;
  }

  /** Asks some questions, evenly spread, and keeps the answers as those before training. */
  async askBefore(signal?: AbortSignal): Promise<readonly EvaluationSample[]> {
    const { length } = this.#dataset;
    const count = Math.min(ROWS_BEFORE, length);
    const rows = Array.from({ length: count }, (_, i) => Math.floor((i * length) / count));
    this.#before = await this.#ask(rows, signal);
    return this.#before;
  }

  /**
   * Asks all questions.
   *
   * @param signal ends it, with its reason as the error
   * @returns the answers, without pictures
   */
  ask(signal?: AbortSignal): Promise<EvaluationSample[]> {
    return this.#ask(Array.from({ length: this.#dataset.length }, (_, i) => i), signal);
  }

  async #ask(rows: readonly number[], signal?: AbortSignal): Promise<EvaluationSample[]> {
    const samples: EvaluationSample[] = [];
    let lastIndex = -1, turn = 0;
    await evaluateVqa(this.#loaded, this.#dataset.select(rows), {
      batchSize: BATCH_SIZE,
      maxNewTokens: ANSWER_TOKENS,
      signal,
      onAnswer({ index, question, expected, answer, correct, type }) {
        turn = index === lastIndex ? turn + 1 : 0;
        lastIndex = index;
        const id = questionId(rows[index], turn);
        samples.push({ id, question, expected, answer, correct, type });
      },
    });
    signal?.throwIfAborted();
    return samples;
  }

  /**
   * The answers that a report shows, wrong ones first, with their pictures. Questions that were asked
   * before training too come first among equals.
   */
  async shown(answers: readonly EvaluationSample[]): Promise<EvaluationSample[]> {
    const asked = new Set(this.#before?.map(({ id }) => id));
    const ordered = answers.toSorted((a, b) => Number(asked.has(b.id)) - Number(asked.has(a.id)));
    const shown: EvaluationSample[] = [];
    for (const sample of chooseAnswers(ordered)) {
      const example = await this.#dataset.tryGet(parseInt(sample.id ?? "0"));
      const pictures = example?.images.map(({ bytes }) => bytes) ?? [];
      shown.push({ ...sample, pictures });
    }
    return shown;
  }
}
