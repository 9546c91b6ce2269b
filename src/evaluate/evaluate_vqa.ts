/**
 * Exact match on a vqa data set.
 *
 * @module
 */
import type { Dataset } from "../data/dataset.ts";
import type { VqaExample } from "../data/rows/formats.ts";
import type { LoadedModel } from "../generate/load_model.ts";
import { type AnswerOptions, answerQuestions } from "./answer_questions.ts";
import { type Cell, cellText, describeCell } from "../data/rows/row.ts";
import { type GroupedScore, type MetricRequest, MetricTally } from "./metrics/metric_tally.ts";
import { ExactMatchTally, type MatchScore } from "./exact_match.ts";
import { chatBuilder, type Question, questionsOf, withPictures } from "./question_rows.ts";

/** One answered question. */
export interface AnsweredQuestion {
  readonly question: string;
  readonly expected: string;
  readonly answer: string;
  readonly correct: boolean;
  readonly type: string | null;
  /** Its example's place in the data set, from 0. */
  readonly index: number;
  /** Score by metric; empty if none was asked for. */
  readonly scores: Readonly<Record<string, number>>;
}

/** How to evaluate. */
export interface EvaluateVqaOptions extends AnswerOptions {
  /** Keep the earlier turns, with their expected answers, in each question. */
  readonly withHistory?: boolean;
  /** Metrics beside exact match; none by default. */
  readonly metrics?: readonly MetricRequest[];
  /** Column by whose values the metrics are grouped too; none by default. */
  readonly groupBy?: string;
  /** Called with each question in the order of the data. */
  readonly onAnswer?: (answered: AnsweredQuestion, source: Question) => void | Promise<void>;
}

/** The results. */
export interface VqaScores extends MatchScore {
  /** Rows whose questions were asked. */
  readonly examples: number;
  readonly byType: ReadonlyMap<string, MatchScore>;
  /** By the metric's name, in the order asked for; with the style if one is there twice. */
  readonly metrics: ReadonlyMap<string, GroupedScore>;
}

/** Name of the group that a cell of the grouping column stands for. */
function groupOf(cell: Cell | undefined): string {
  const text = cellText(cell);
  if (text !== null) return text;
  return typeof cell === "number" || typeof cell === "boolean" ? String(cell) : describeCell(cell);
}

/** Pictures held at once, 256 MiB of tiles. */
const WINDOW_BYTES = 256 * 2 ** 20;
/** Batches answered at once, so that rows of like length can be put together. */
const WINDOW_BATCHES = 8;

/**
 * Asks every turn of every row and compares the answers.
 *
 * @param loaded the model with its tokenizer and image processor
 * @param dataset rows not split into turns; a row that cannot be used is counted in its `skipped`
 * @param options `signal` ends it between two batches; the scores are then those of the rows so far
 * @throws {DataError} if more than 10 % of the rows cannot be used
 */
export async function evaluateVqa(
  loaded: LoadedModel,
  dataset: Dataset<VqaExample>,
  options: EvaluateVqaOptions = {},
): Promise<VqaScores> {
  const { withHistory = false, onAnswer, onProgress, batchSize = 64, signal, ...rest } = options;
  const { metrics = [], groupBy } = options;
  const builder = chatBuilder(loaded);
  const tally = new ExactMatchTally();
  const metricTally = new MetricTally(metrics);
  let window: Question[] = [], places: number[] = [], bytes = 0, done = 0, rows = 0, examples = 0;
  const flush = async () => {
    const before = done;
    const answers = await answerQuestions(loaded.model, loaded.tokenizer, window, {
      ...rest,
      batchSize,
      signal,
      onProgress: (answered) => onProgress?.(before + answered),
    });
    if (signal?.aborted) return;
    for (const [i, source] of window.entries()) {
      const { question, expected, accepted, type, columns } = source;
      const correct = tally.add(answers[i], expected, type);
      const group = groupBy === undefined ? null : groupOf(columns[groupBy]);
      const scores = metricTally.add(answers[i], accepted, group);
      await onAnswer?.(
        { question, expected, answer: answers[i], correct, type, index: places[i], scores },
        source,
      );
    }
    done += window.length;
    examples += rows;
    rows = 0;
    window = [];
    places = [];
    bytes = 0;
  };
  for await (const { index, example, images } of withPictures(loaded, builder, dataset, signal)) {
    const asked = questionsOf(example, images, withHistory);
    window.push(...asked);
    places.push(...asked.map(() => index));
    bytes += images.reduce((sum, { tiles }) => sum + tiles.byteLength, 0);
    rows++;
    if (window.length >= WINDOW_BATCHES * batchSize || bytes >= WINDOW_BYTES) await flush();
  }
  if (window.length > 0) await flush();
  return {
    examples,
    ...tally.overall,
    byType: tally.byType,
    metrics: metricTally.scores,
  };
}
