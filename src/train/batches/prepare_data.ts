/**
 * The data that a config asks for: files, the Hub, or the embedded drawings; held-out data from
 * its own source, or a fifth of the rows.
 *
 * @module
 */
import { labelOf, probabilitiesOf } from "../../config/schema/mixture.ts";
import type { DatasetSection, ResolvedConfig } from "../../config/types/config_types.ts";
import {
  EMBEDDED_DATA,
  embeddedDataset,
  embeddedOverlap,
} from "../../data/embedded/embedded_dataset.ts";
import type { DatasetFormat } from "../../data/rows/formats.ts";
import { type ExampleOptions, loadDataset } from "../../data/load_dataset.ts";
import { loadMixture } from "../../data/mixture/load_mixture.ts";
import { type MinRatings, RATING_COLUMNS, type RatingKey } from "../../data/rows/rated_turns.ts";
import { loadTrainAndEval, type TrainEvalDatasets } from "../../data/splits/train_eval.ts";
import { untilAborted } from "../../until_aborted.ts";

/**
 * Loads the data of a config.
 *
 * @param format what the trainer reads
 * @param signal ends the waiting for it, with its reason as the error
 * @throws {DataError} if data is missing, corrupt, or of another format
 */
export async function prepareData<F extends DatasetFormat>(
  config: ResolvedConfig,
  format: F,
  signal?: AbortSignal,
): Promise<TrainEvalDatasets<F>> {
  return await untilAborted(load(config, format), signal);
}

async function load<F extends DatasetFormat>(
  config: ResolvedConfig,
  format: F,
): Promise<TrainEvalDatasets<F>> {
  const { dataset } = config;
  if (dataset.mixture.datasets.length > 0) return await loadSets(config, format);
  const evaluation = config.training.eval_strategy !== "no";
  const options = exampleOptions(config, format);
  if (EMBEDDED_DATA.includes(dataset.train_data_path)) {
    const name = dataset.train_data_path;
    const train = await embeddedDataset(dataset.train_split, options, name);
    if (!evaluation) return { train, evaluation: null, heldOut: null, warnings: [] };
    const test = await embeddedDataset(dataset.eval_split, options, name);
    const { heldOut, note } = await embeddedOverlap(name, train, test);
    return { train, evaluation: test, heldOut, warnings: note };
  }
  return await loadTrainAndEval({ ...options, ...dataOptions(config) });
}

/** How rows become examples. */
function exampleOptions<F extends DatasetFormat>(
  { dataset, training }: ResolvedConfig,
  format: F,
): ExampleOptions<F> {
  return {
    format,
    renameColumns: dataset.rename_columns,
    maxSamples: dataset.max_samples,
    splitTurns: dataset.split_turns,
    maxImagesPerExample: training.max_images_per_example,
    preprocessingFn: dataset.preprocessing_fn,
    ratings: minRatings(dataset),
  };
}

/** The least ratings that are set. */
function minRatings(dataset: DatasetSection): MinRatings {
  const keys = Object.keys(RATING_COLUMNS) as RatingKey[];
  return Object.fromEntries(
    keys.flatMap((key) => dataset[key] === null ? [] : [[key, dataset[key]]]),
  );
}

/** Where the rows are. */
function dataOptions({ dataset, training }: ResolvedConfig) {
  return {
    trainPath: dataset.train_data_path,
    trainSplit: dataset.train_split,
    configs: dataset.name,
    evalPath: dataset.eval_data_path,
    evalSplit: dataset.eval_split,
    evaluation: training.eval_strategy !== "no",
    splitBy: dataset.split_by,
    splitRule: dataset.split_rule,
    imageFolder: dataset.image_folder,
    streaming: dataset.streaming,
  };
}

/** The sets of `dataset.mixture`; what one does not give is as in `dataset`. */
async function loadSets<F extends DatasetFormat>(
  config: ResolvedConfig,
  format: F,
): Promise<TrainEvalDatasets<F>> {
  const { dataset, training } = config;
  const { mixture, eval_data_path: evalPath } = dataset;
  const wanted = training.eval_strategy !== "no";
  const sets = mixture.datasets.map((set) => {
    const ofSet: ResolvedConfig = {
      ...config,
      dataset: {
        ...dataset,
        train_data_path: set.path,
        name: set.name ?? [],
        train_split: set.split ?? dataset.train_split,
        eval_data_path: set.eval_path ?? null,
        eval_split: set.eval_split ?? dataset.eval_split,
        max_samples: set.max_samples === undefined ? dataset.max_samples : set.max_samples,
        rename_columns: set.rename_columns ?? dataset.rename_columns,
        preprocessing_fn: set.preprocessing_fn === undefined
          ? dataset.preprocessing_fn
          : set.preprocessing_fn,
        image_folder: set.image_folder === undefined ? dataset.image_folder : set.image_folder,
        split_turns: set.split_turns ?? dataset.split_turns,
      },
    };
    const options = {
      ...exampleOptions(ofSet, format),
      ...dataOptions(ofSet),
      evaluation: wanted && evalPath === null,
    };
    return { name: labelOf(set), options };
  });
  const interleave = {
    probabilities: probabilitiesOf(mixture),
    stoppingStrategy: mixture.stopping_strategy,
    seed: mixture.seed,
  };
  const evaluation = wanted && evalPath !== null
    ? await loadDataset({
      ...exampleOptions(config, format),
      path: evalPath,
      split: dataset.eval_split,
      imageFolder: dataset.image_folder,
      streaming: dataset.streaming,
    })
    : null;
  return await loadMixture<F>(sets, interleave, evaluation);
}
