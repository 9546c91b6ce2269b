/**
 * How often a model finds the chosen answer likelier than the rejected one.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { Dataset } from "../data/dataset.ts";
import type { PreferenceExample } from "../data/rows/formats.ts";
import { readBack } from "../device/read_back.ts";
import { IGNORED_LABEL } from "../ignored_label.ts";
import type { ImageTiles } from "../model/batch.ts";
import { joinRows, labelledAnswer, packRows, type Sequence } from "../model/branches.ts";
import type { LoadedModel } from "../generate/load_model.ts";
import { chatBuilder, withPictures } from "./question_rows.ts";

/** The result of a pair. */
export interface ScoredPair {
  readonly prompt: string;
  readonly chosen: string;
  readonly rejected: string;
  /** Summed over the answer's tokens, the end token included, in nats. */
  readonly chosenLogProb: number;
  readonly rejectedLogProb: number;
  readonly correct: boolean;
}

/** How to evaluate. */
export interface EvaluatePreferenceOptions {
  /** Pairs that are computed side by side; 16 by default. */
  readonly batchSize?: number;
  /** Run without the adapters. */
  readonly withoutAdapters?: boolean;
  readonly signal?: AbortSignal;
  /** Called with each pair in the order of the data. */
  readonly onPair?: (pair: ScoredPair) => void | Promise<void>;
  /** Called with the number of pairs done by now. */
  readonly onProgress?: (done: number) => void;
}

/** The results. */
export interface PreferenceScores {
  readonly examples: number;
  /** Share of pairs whose chosen answer is likelier. */
  readonly accuracy: number;
  /** Mean of log p(chosen) − log p(rejected), in nats. */
  readonly margin: number;
}

/** A pair ready for the model. */
interface Pair {
  readonly example: PreferenceExample;
  readonly sequences: readonly [Sequence, Sequence];
  readonly images: readonly ImageTiles[];
}

/** Summed log-probabilities of the answers, two a pair, in order. */
async function answerLogProbs(
  { model }: LoadedModel,
  pairs: readonly Pair[],
  withoutAdapters: boolean | undefined,
): Promise<number[]> {
  const rows = pairs.flatMap(({ sequences, images }) =>
    packRows(sequences, images, true, model.imageTokenId)
  );
  const batch = joinRows(rows, model.config);
  // Every answer has its end token, so that there is always a label.
  const logProbs = tf.tidy(() => model.labelLogProbs(batch, { withoutAdapters })!); // [M]
  batch.dispose();
  const [values] = await readBack([logProbs]);
  logProbs.dispose();
  // Labels come row by row, and within a row the chosen answer comes first.
  let at = 0;
  return pairs.flatMap(({ sequences }) =>
    sequences.map(({ labels }) => {
      let sum = 0;
      for (let i = 0; i < labels.length; i++) if (labels[i] !== IGNORED_LABEL) sum += values[at++];
      return sum;
    })
  );
}

/**
 * Compares log p(chosen) with log p(rejected) on every row.
 *
 * @param loaded the model with its tokenizer and image processor
 * @param dataset a row that cannot be used is counted in its `skipped`
 * @param options `signal` ends it between two batches; the scores are then those of the pairs so far
 * @throws {DataError} if more than 10 % of the rows cannot be used
 */
export async function evaluatePreference(
  loaded: LoadedModel,
  dataset: Dataset<PreferenceExample>,
  options: EvaluatePreferenceOptions = {},
): Promise<PreferenceScores> {
  const { batchSize = 16, withoutAdapters, signal, onPair, onProgress } = options;
  const builder = chatBuilder(loaded);
  let pairs: Pair[] = [], examples = 0, right = 0, margins = 0;
  const flush = async () => {
    const sums = await answerLogProbs(loaded, pairs, withoutAdapters);
    for (const [i, { example }] of pairs.entries()) {
      const [chosenLogProb, rejectedLogProb] = [sums[2 * i], sums[2 * i + 1]];
      const correct = chosenLogProb > rejectedLogProb;
      examples++;
      if (correct) right++;
      margins += chosenLogProb - rejectedLogProb;
      await onPair?.({
        prompt: example.prompt.at(-1)?.content ?? "",
        chosen: example.chosen,
        rejected: example.rejected,
        chosenLogProb,
        rejectedLogProb,
        correct,
      });
    }
    pairs = [];
    onProgress?.(examples);
  };
  for await (const { example, images } of withPictures(loaded, builder, dataset, signal)) {
    const ids = builder.buildPreference(example, images.map(({ grid }) => grid));
    const chosen = labelledAnswer(ids.promptIds, ids.chosenIds);
    const rejected = labelledAnswer(ids.promptIds, ids.rejectedIds);
    pairs.push({ example, sequences: [chosen, rejected], images });
    if (pairs.length >= batchSize) await flush();
  }
  if (pairs.length > 0 && !signal?.aborted) await flush();
  return {
    examples,
    accuracy: examples === 0 ? 0 : right / examples,
    margin: examples === 0 ? 0 : margins / examples,
  };
}
