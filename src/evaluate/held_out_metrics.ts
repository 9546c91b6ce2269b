/**
 * Metrics of generated answers to held-out questions while a model trains.
 *
 * @module
 */
import type { Dataset } from "../data/dataset.ts";
import type { PreferenceExample, VqaExample } from "../data/rows/formats.ts";
import type { StreamingDataset } from "../data/streaming_dataset.ts";
import type { LoadedModel } from "../generate/load_model.ts";
import type { TextPrompt } from "../generate/generate_text.ts";
import { RandomStream } from "../random.ts";
import { acceptedAnswers } from "./accepted_answers.ts";
import { answerQuestions } from "./answer_questions.ts";
import { type GroupedScore, type MetricRequest, MetricTally } from "./metrics/metric_tally.ts";
import { chatBuilder, type ExampleList, questionsOf, withPictures } from "./question_rows.ts";

/** A question and the answers that a metric accepts. */
interface AskedQuestion extends TextPrompt {
  readonly accepted: readonly string[];
}

/** Questions of held-out data: at random places, or in a stream. */
export type HeldOutData<E extends VqaExample | PreferenceExample> =
  | Dataset<E>
  | StreamingDataset<E>;

/** What to measure, and on how much. */
export interface HeldOutMetricsOptions {
  readonly metrics: readonly MetricRequest[];
  /** The most questions that are asked. */
  readonly questions: number;
  /** Longest answer, tokens. */
  readonly maxNewTokens: number;
  /** Questions that are answered side by side. */
  readonly batchSize: number;
  /** Ends it between two tokens, with its reason as the error. */
  readonly signal?: AbortSignal;
}

/** Decides which rows are asked: the same ones at each evaluation and in each run. */
const SEED = 42;

/** Rows of a data set in a random order that is always the same. */
function sampledOrder(length: number): number[] {
  const random = new RandomStream(SEED, "eval_metrics");
  const order = Array.from({ length }, (_, i) => i);
  for (let i = length - 1; i > 0; i--) {
    const j = Math.floor(random.nextFloat() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

/** Rows of held-out data to ask: a random sample, or the first ones of a stream. */
async function sampledRows<E extends VqaExample | PreferenceExample>(
  dataset: HeldOutData<E>,
  most: number,
): Promise<ExampleList<E>> {
  if (!dataset.streaming) {
    return dataset.length <= most
      ? dataset
      : dataset.select(sampledOrder(dataset.length).slice(0, most).sort((a, b) => a - b));
  }
  const first: E[] = [];
  for await (const example of dataset) {
    if (first.push(example) >= most) break;
  }
  return {
    length: first.length,
    skipped: dataset.skipped,
    tryGet: (i) => Promise.resolve(first[i]),
    place: (i) => Promise.resolve(`${dataset.name}, example ${i + 1}`),
  };
}

/** The questions of a vqa row, or the prompt of a preference row with its chosen answer. */
function askedQuestions(
  example: VqaExample | PreferenceExample,
  images: NonNullable<TextPrompt["images"]>,
): AskedQuestion[] {
  if ("turns" in example) return questionsOf(example, images, false);
  const { prompt, chosen, columns } = example;
  return [{ messages: prompt, images, accepted: acceptedAnswers(columns, 0, 1, chosen) }];
}

/**
 * Answers held-out questions greedily and scores the answers. A preference row's prompt is its
 * question, and the chosen answer is accepted if it has no column `answers`.
 *
 * @param loaded the model as it is now
 * @param dataset held out; a row that cannot be used is counted in its `skipped`
 * @param options `questions` bounds the work: a fixed random sample of the rows is asked
 * @returns `eval_…` by metric; empty if no question can be asked
 * @throws {DataError} if more than 10 % of the rows cannot be used
 */
export async function heldOutMetrics(
  loaded: LoadedModel,
  dataset: HeldOutData<VqaExample> | HeldOutData<PreferenceExample>,
  options: HeldOutMetricsOptions,
): Promise<Record<string, number>> {
  const { metrics, questions: most, maxNewTokens, batchSize, signal } = options;
  if (metrics.length === 0) return {};
  const rows = await sampledRows<VqaExample | PreferenceExample>(
    dataset as HeldOutData<VqaExample | PreferenceExample>,
    most,
  );
  const tally = new MetricTally(metrics);
  let left = most, window: AskedQuestion[] = [];
  const flush = async () => {
    const { model, tokenizer } = loaded;
    const answers = await answerQuestions(model, tokenizer, window, {
      batchSize,
      maxNewTokens,
      signal,
    });
    signal?.throwIfAborted(); // before cut answers are scored
    window.forEach(({ accepted }, i) => tally.add(answers[i], accepted));
    window = [];
  };
  for await (const { example, images } of withPictures(loaded, chatBuilder(loaded), rows, signal)) {
    const asked = askedQuestions(example, images).slice(0, left);
    left -= asked.length;
    window.push(...asked);
    if (window.length >= batchSize) await flush();
    if (left === 0) break;
  }
  signal?.throwIfAborted();
  if (window.length > 0) await flush();
  return left === most ? {} : metricValues(tally.scores);
}

/** Means by `eval_…`; of `yes_no` also what only a whole data set has, as `eval_yes_no_f1`. */
export function metricValues(
  scores: ReadonlyMap<string, GroupedScore>,
): Record<string, number> {
  return Object.fromEntries(
    [...scores].flatMap(([name, { overall, further }]) => [
      [`eval_${name}`, overall.mean],
      ...Object.entries(further).map(([part, value]) => [`eval_${name}_${part}`, value]),
    ]),
  );
}
