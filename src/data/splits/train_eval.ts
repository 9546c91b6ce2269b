import { DataError } from "../data_error.ts";
import { dataWarnings } from "../data_notes.ts";
import type { DatasetFormat } from "../rows/formats.ts";
import { type AnyDataset, loadDataset, type LoadDatasetOptions } from "../load_dataset.ts";
import { heldOutPart, type SplitBy } from "./held_out_part.ts";
import { type HeldOutPictures, pictureOverlap } from "./picture_overlap.ts";
import type { SplitRule } from "./train_test_split.ts";

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
  /** What stays on one side if `evalPath` is null; default `auto`. */
  readonly splitBy?: SplitBy;
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
  /** Whether pictures of the evaluation data are in training rows too; null: not known. */
  readonly heldOut: HeldOutPictures | null;
  /** Rows of each set of a mixture in an epoch; null: a stream; undefined: no mixture. */
  readonly shares?: readonly SetShare[] | null;
  /** What a user should know of both. */
  readonly warnings: readonly string[];
}

/** Rows of a set in an epoch of a mixture. */
export interface SetShare {
  readonly name: string;
  readonly rows: number;
  /** Of all rows of the epoch, 0 to 1. */
  readonly share: number;
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
  if (options.evaluation === false) {
    return { train: loaded, evaluation: null, heldOut: null, warnings };
  }
  if (evalPath === null) {
    const { train, test, heldOut, note } = await heldOutPart(loaded, options);
    return { train, evaluation: test, heldOut, warnings: [...warnings, ...note] };
  }
  const evaluation = await loadEvaluation({ ...options, path: evalPath, split: evalSplit });
  const { heldOut, note } = await pictureOverlap(loaded, evaluation);
  return {
    train: loaded,
    evaluation,
    heldOut,
    warnings: [...new Set([...warnings, ...dataWarnings(evaluation), ...note])],
  };
}

async function loadEvaluation<F extends DatasetFormat>(
  options: LoadDatasetOptions<F>,
): Promise<AnyDataset<F>> {
  try {
    return await loadDataset(options);
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    throw new DataError(`${error.message} (dataset.eval_data_path, dataset.eval_split)`, {
      cause: error,
    });
  }
}
