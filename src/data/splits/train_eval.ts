import { DataError } from "../data_error.ts";
import { dataWarnings } from "../data_notes.ts";
import type { DatasetFormat } from "../rows/formats.ts";
import type { SplitRule } from "./train_test_split.ts";
import { type AnyDataset, loadDataset, type LoadDatasetOptions } from "../load_dataset.ts";

/** The share of rows held out for evaluation if no evaluation data is named. */
export const EVAL_SHARE = 0.2;

/** The seed of that split. */
export const EVAL_SPLIT_SEED = 42;

/** What to train and to evaluate on: the section `dataset` of a config. */
export interface TrainEvalOptions<F extends DatasetFormat>
  extends Omit<LoadDatasetOptions<F>, "path" | "split"> {
  /** `train_data_path`. */
  readonly trainPath: string;
  /** `train_split`; default `train`. */
  readonly trainSplit?: string;
  /** `eval_data_path`; null: a fifth of the training rows, as `datasets` splits them with seed 42. */
  readonly evalPath?: string | null;
  /** `eval_split`; default `test`. */
  readonly evalSplit?: string;
  /** Which rows are held out if `evalPath` is null; default `datasets`. */
  readonly splitRule?: SplitRule;
  /** False: load no evaluation data, and keep all rows for training. */
  readonly evaluation?: boolean;
}

/** Training and evaluation examples. */
export interface TrainEvalDatasets<F extends DatasetFormat> {
  /** To train on. */
  readonly train: AnyDataset<F>;
  /** To evaluate on; null if none was asked for. */
  readonly evaluation: AnyDataset<F> | null;
  /** What a user should know of both. */
  readonly warnings: readonly string[];
}

/**
 * Loads training and evaluation data as a config names them.
 *
 * @throws {DataError} as `loadDataset`
 */
export async function loadTrainAndEval<F extends DatasetFormat>(
  options: TrainEvalOptions<F>,
): Promise<TrainEvalDatasets<F>> {
  const { trainPath, trainSplit = "train", evalPath = null, evalSplit = "test" } = options;
  const loaded = await loadDataset({ ...options, path: trainPath, split: trainSplit });
  const warnings = dataWarnings(loaded);
  if (options.evaluation === false) return { train: loaded, evaluation: null, warnings };
  if (evalPath === null) {
    const { train, test } = loaded.split(EVAL_SHARE, EVAL_SPLIT_SEED, options.splitRule);
    return { train, evaluation: test, warnings };
  }
  try {
    const evaluation = await loadDataset({ ...options, path: evalPath, split: evalSplit });
    return {
      train: loaded,
      evaluation,
      warnings: [...new Set([...warnings, ...dataWarnings(evaluation)])],
    };
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    throw new DataError(`${error.message} (dataset.eval_data_path, dataset.eval_split)`, {
      cause: error,
    });
  }
}
