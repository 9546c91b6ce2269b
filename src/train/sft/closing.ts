/**
 * What SFT shows of its model: a few answers at each evaluation, and at the end, if answers are
 * short, the exact match on held-out questions beside that of answers without the picture.
 *
 * @module
 */
import { blindBaseline, type QuestionAnswer } from "../../data/embedded/blind_baseline.ts";
import type { Dataset } from "../../data/dataset.ts";
import type { VqaExample } from "../../data/rows/formats.ts";
import { ExactMatchTally } from "../../evaluate/exact_match.ts";
import { evaluateVqa } from "../../evaluate/evaluate_vqa.ts";
import type { LoadedModel } from "../../generate/load_model.ts";
import type { EvaluationSample } from "../../report/evaluation_sample.ts";
import type { ReportedAnswers } from "../../report/files/report_file.ts";
import type { Headline, ResultTable } from "../../report/page/report_contents.ts";
import type { Concern } from "../../report/watch/concern.ts";
import { type HeldOutQuestions, questionId } from "./held_out_questions.ts";
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
  let last = -1;
  await evaluateVqa(loaded, dataset.select(indices), {
    maxNewTokens: SAMPLE_TOKENS,
    signal,
    async onAnswer({ index, question, expected, answer, correct, type }) {
      if (index === last) return; // the first turn of each example
      last = index;
      const place = indices[index];
      const example = await dataset.tryGet(place);
      const pictures = example?.images.map(({ bytes }) => bytes) ?? [];
      const id = questionId(place, 0);
      samples.push({ id, pictures, question, expected, answer, correct, type });
    },
  });
  signal?.throwIfAborted();
  return samples;
}

/** Longest answer that is worth an exact match, characters. */
const SHORT_ANSWER = 32;
/** Whether the first 100 examples have short answers only. */
export async function hasShortAnswers(dataset: Dataset<VqaExample>): Promise<boolean> {
  for (let i = 0; i < Math.min(100, dataset.length); i++) {
    const example = await dataset.tryGet(i);
    if (example?.turns.some(({ assistant }) => assistant.length > SHORT_ANSWER)) return false;
  }
  return true;
}

async function* trainingQuestions(dataset: SFTDataset): AsyncGenerator<QuestionAnswer> {
  for await (const { turns } of dataset.streaming ? dataset : dataset.texts()) {
    for (const { user, assistant } of turns) yield { question: user, answer: assistant };
  }
}

const percent = (share: number) => `${(100 * share).toFixed(1)} %`;

/** What {@linkcode exactMatchTable} finds. */
export interface ExactMatch {
  /** All questions, then those that were asked before training too. */
  readonly tables: readonly ResultTable[];
  readonly headline: Headline;
  readonly answers: ReportedAnswers;
  /** What is wrong with the model; null if nothing is. */
  readonly concern: Concern | null;
}

/**
 * Exact match on all held-out questions, by type, before and after training, beside the best answers
 * without the picture.
 *
 * @param questions of which the model never saw the answers
 * @param train what it was trained on
 * @param signal ends it, with its reason as the error
 */
export async function exactMatchTable(
  questions: HeldOutQuestions,
  train: SFTDataset,
  signal?: AbortSignal,
): Promise<ExactMatch> {
  const { before, thing } = questions;
  const after = await questions.ask(signal);
  const blind = blindBaseline(
    await Array.fromAsync(trainingQuestions(train)),
    after.map(({ question, expected }) => ({ question, answer: expected ?? "" })),
  );
  const all = matchOf(after);
  const table: ResultTable = {
    title: `Exact match on held-out ${thing}`,
    columns: ["answerer", "questions", "exact match"],
    rows: [
      ["never sees the picture", all.overall.questions, percent(blind)],
      ...rowsOf("this model", all),
    ],
  };
  const first = before && matchOf(before);
  const asked = new Set(before?.map(({ id }) => id));
  const again = matchOf(after.filter(({ id }) => asked.has(id)));
  const { questions: count } = all.overall;
  const isAll = first?.overall.questions === count;
  const compared: ResultTable | null = first && {
    title: isAll
      ? "The same questions before and after training"
      : `The same ${first.overall.questions} of the questions before and after training`,
    columns: ["answers", "questions", "before", "after"],
    rows: rowsOf("all", again).map((row, i) => [
      row[0],
      row[1],
      rowsOf("all", first)[i]?.[2] ?? null,
      row[2],
    ]),
  };
  return {
    tables: compared === null ? [table] : [table, compared],
    headline: {
      name: `Right answers, held-out ${thing}`,
      value: percent(all.overall.exactMatch),
      before: first &&
        `${percent(first.overall.exactMatch)}${isAll ? "" : ` of ${first.overall.questions}`}`,
    },
    answers: { shown: await questions.shown(after), all: after },
    concern: noBetterThanBlind(all.overall.exactMatch, blind),
  };
}

/** A row for all questions and one for each type. */
function rowsOf(name: string, { overall, byType }: ExactMatchTally): [string, number, string][] {
  return [
    [name, overall] as const,
    ...[...byType].map(([type, score]) => [`  ${type}`, score] as const),
  ]
    .map(([name, { questions, exactMatch }]) => [name, questions, percent(exactMatch)]);
}

/** Exact match of answers, overall and by type. */
function matchOf(answers: readonly EvaluationSample[]): ExactMatchTally {
  const tally = new ExactMatchTally();
  for (const { answer, expected, type } of answers) tally.add(answer, expected ?? "", type);
  return tally;
}

/** The model could answer as well without the picture. */
function noBetterThanBlind(exactMatch: number, blind: number): Concern | null {
  if (exactMatch > blind || exactMatch === 1) return null;
  return {
    name: "no_better_than_blind",
    text: `The model answers ${percent(exactMatch)} of the held-out questions, and answers that ` +
      `never see the picture ${percent(blind)}: it does not use the picture. Train longer ` +
      "(training.max_steps, training.num_train_epochs), try learning rates 10 times lower or " +
      "higher (training.lr_mp and training.lr_vision_backbone too), or take more rows",
  };
}
