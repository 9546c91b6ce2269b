/**
 * How often a model finds the chosen answer likelier than the rejected one.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { RowSkipped } from "../data/data_error.ts";
import type { Dataset } from "../data/dataset.ts";
import type { PreferenceExample } from "../data/formats.ts";
import { readBack } from "../device/read_back.ts";
import type { ImageTiles } from "../model/batch.ts";
import { batchRows, packBranches, type PackedRow, type Sequence } from "../model/branches.ts";
import type { LoadedModel } from "../model/pretrained.ts";
import { chatBuilder, processImages } from "./question_rows.ts";

/** How a pair came out. */
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
  /** Gets each pair in the order of the data. */
  readonly onPair?: (pair: ScoredPair) => void | Promise<void>;
  /** Called with the number of pairs done by now. */
  readonly onProgress?: (done: number) => void;
}

/** What was found. */
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

/** Prompt and answer as one sequence, the answer labelled. */
function labelled(prompt: readonly number[], answer: readonly number[]): Sequence {
  const inputIds = [...prompt, ...answer];
  const labels = inputIds.map((_, t) =>
    t + 1 >= prompt.length && t + 1 < inputIds.length ? inputIds[t + 1] : -100
  );
  return { inputIds, labels };
}

/** Summed log-probabilities of the answers, two a pair, in order. */
async function answerLogProbs(
  { model, tokenizer }: LoadedModel,
  pairs: readonly Pair[],
  withoutAdapters: boolean | undefined,
): Promise<number[]> {
  const rows: PackedRow[] = pairs.flatMap(({ sequences, images }) => {
    const shared = packBranches(sequences, images, model.imageTokenId);
    if (shared) return [shared];
    return sequences.map((one) => packBranches([one], images, model.imageTokenId)!);
  });
  const batch = batchRows(rows, tokenizer.padTokenId, model.config);
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
      for (let i = 0; i < labels.length; i++) if (labels[i] !== -100) sum += values[at++];
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
 * @throws {DataError} where more than 10 % of the rows cannot be used
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
  for (let i = 0; i < dataset.length && !signal?.aborted; i++) {
    const example = await dataset.tryGet(i);
    if (example === null) continue;
    try {
      const images = await processImages(loaded.imageProcessor, builder, example.images);
      const ids = builder.buildPreference(example, images.map(({ grid }) => grid));
      const chosen = labelled(ids.promptIds, ids.chosenIds);
      const rejected = labelled(ids.promptIds, ids.rejectedIds);
      pairs.push({ example, sequences: [chosen, rejected], images });
    } catch (error) {
      if (!(error instanceof RowSkipped)) throw error;
      dataset.skipped.add(error.at(await dataset.place(i)));
    }
    if (pairs.length >= batchSize) await flush();
  }
  if (pairs.length > 0 && !signal?.aborted) await flush();
  return {
    examples,
    accuracy: examples === 0 ? 0 : right / examples,
    margin: examples === 0 ? 0 : margins / examples,
  };
}
