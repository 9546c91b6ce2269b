/**
 * What SFT shows of its model: a few answers at each evaluation, and at the end, if answers are
 * short, the exact match on held-out questions beside that of answers without the picture.
 *
 * @module
 */
import { blindBaseline, type QuestionAnswer } from "../../data/embedded/blind_baseline.ts";
import type { Dataset } from "../../data/dataset.ts";
import type { VqaExample } from "../../data/rows/formats.ts";
import { evaluateVqa } from "../../evaluate/evaluate_vqa.ts";
import type { LoadedModel } from "../../generate/load_model.ts";
import type { EvaluationSample } from "../../report/evaluation_sample.ts";
import type { ResultTable } from "../../report/page/report_contents.ts";
import type { Concern } from "../../report/watch/concern.ts";
import type { SFTDataset } from "./method.ts";

/** Questions that are asked at each evaluation. */
const SAMPLES = 8;
/** Longest sample answer, tokens. */
const SAMPLE_TOKENS = 48;

/**
 * Asks a few questions of the held-out data, the same ones each time.
 *
 * @param loaded the model as it is now
 * @param dataset held out
 * @param signal ends it, with its reason as the error
 */
export async function answerSamples(
  loaded: LoadedModel,
  dataset: Dataset<VqaExample>,
  signal?: AbortSignal,
): Promise<EvaluationSample[]> {
  const count = Math.min(SAMPLES, dataset.length);
  const indices = Array.from({ length: count }, (_, i) => Math.floor((i * dataset.length) / count));
  const samples: EvaluationSample[] = [];
  for (const index of indices) {
    const example = await dataset.tryGet(index);
    if (example === null) continue;
    const pictures = example.images.map(({ bytes }) => bytes);
    let isFirst = true;
    await evaluateVqa(loaded, dataset.select([index]), {
      maxNewTokens: SAMPLE_TOKENS,
      signal,
      onAnswer({ question, expected, answer, correct }) {
        if (isFirst) samples.push({ pictures, question, expected, answer, correct });
        isFirst = false;
      },
    });
    signal?.throwIfAborted();
  }
  return samples;
}

/** Longest answer that is worth an exact match, characters. */
const SHORT_ANSWER = 32;
/** Held-out questions that are asked at the end, at most. */
const MAX_QUESTIONS = 10_000;

/** Whether the first 100 examples have short answers only. */
export async function hasShortAnswers(dataset: Dataset<VqaExample>): Promise<boolean> {
  for (let i = 0; i < Math.min(100, dataset.length); i++) {
    const example = await dataset.tryGet(i);
    if (example?.turns.some(({ assistant }) => assistant.length > SHORT_ANSWER)) return false;
  }
  return true;
}

async function* questions(dataset: SFTDataset): AsyncGenerator<QuestionAnswer> {
  for await (const { turns } of dataset) {
    for (const { user, assistant } of turns) yield { question: user, answer: assistant };
  }
}

const percent = (share: number) => `${(100 * share).toFixed(1)} %`;

/** Held-out questions. */
export interface HeldOutQuestions {
  readonly dataset: Dataset<VqaExample>;
  /** What is new about them: `questions` if training rows show some of their pictures. */
  readonly thing: "pictures" | "questions";
}

/** What {@linkcode exactMatchTable} finds. */
export interface ExactMatch {
  readonly table: ResultTable;
  /** What is wrong with the model; null if nothing is. */
  readonly concern: Concern | null;
}

/**
 * Exact match on all held-out questions, by type, beside the best answers without the picture.
 *
 * @param loaded the trained model
 * @param train what it was trained on
 * @param heldOut what it never saw, and whether pictures or questions are new
 * @param signal ends it, with its reason as the error
 */
export async function exactMatchTable(
  loaded: LoadedModel,
  train: SFTDataset,
  { dataset: heldOut, thing }: HeldOutQuestions,
  signal?: AbortSignal,
): Promise<ExactMatch> {
  const asked = heldOut.length <= MAX_QUESTIONS
    ? heldOut
    : heldOut.select(Array.from({ length: MAX_QUESTIONS }, (_, i) => i));
  const scores = await evaluateVqa(loaded, asked, { batchSize: 128, maxNewTokens: 16, signal });
  signal?.throwIfAborted();
  const blind = blindBaseline(
    await Array.fromAsync(questions(train)),
    await Array.fromAsync(questions(asked)),
  );
  const table: ResultTable = {
    title: `Exact match on held-out ${thing}`,
    columns: ["answerer", "questions", "exact match"],
    rows: [
      ["never sees the picture", scores.questions, percent(blind)],
      ["this model", scores.questions, percent(scores.exactMatch)],
      ...[...scores.byType].map(([type, score]): [string, number, string] => [
        `  ${type}`,
        score.questions,
        percent(score.exactMatch),
      ]),
    ],
  };
  return { table, concern: noBetterThanBlind(scores.exactMatch, blind) };
}

/** The model could answer as well without the picture. */
function noBetterThanBlind(exactMatch: number, blind: number): Concern | null {
  if (exactMatch > blind || exactMatch === 1) return null;
  return {
    name: "no_better_than_blind",
    text: `The model answers ${percent(exactMatch)} of the held-out questions, and answers that ` +
      `never see the picture ${percent(blind)}: it does not use the picture. Train longer ` +
      "(training.max_steps, training.num_train_epochs), raise training.lr_mp and " +
      "training.lr_vision_backbone, or take more rows",
  };
}
