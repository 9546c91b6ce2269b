/**
 * The data that a config asks for: files, the Hub, or the embedded drawings; held-out data from
 * its own source, or a fifth of the rows.
 *
 * @module
 */
import type { ResolvedConfig } from "../../config/types/config_types.ts";
import { BUILTIN_SHAPES, embeddedDataset } from "../../data/embedded/embedded_dataset.ts";
import type { DatasetFormat } from "../../data/rows/formats.ts";
import type { ExampleOptions } from "../../data/load_dataset.ts";
import { loadTrainAndEval, type TrainEvalDatasets } from "../../data/splits/train_eval.ts";
import { pictureOverlap } from "../../data/splits/picture_overlap.ts";
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
  const { dataset, training } = config;
  const evaluation = training.eval_strategy !== "no";
  const options: ExampleOptions<F> = {
    format,
    renameColumns: dataset.rename_columns,
    maxSamples: dataset.max_samples,
    splitTurns: dataset.split_turns,
    maxImagesPerExample: training.max_images_per_example,
    preprocessingFn: dataset.preprocessing_fn,
  };
  if (dataset.train_data_path === BUILTIN_SHAPES) {
    const train = await embeddedDataset(dataset.train_split, options);
    if (!evaluation) return { train, evaluation: null, heldOut: null, warnings: [] };
    const test = await embeddedDataset(dataset.eval_split, options);
    const { heldOut, note } = await pictureOverlap(train, test);
    return { train, evaluation: test, heldOut, warnings: note };
  }
  return await loadTrainAndEval({
    ...options,
    trainPath: dataset.train_data_path,
    trainSplit: dataset.train_split,
    evalPath: dataset.eval_data_path,
    evalSplit: dataset.eval_split,
    evaluation,
    splitBy: dataset.split_by,
    splitRule: dataset.split_rule,
    imageFolder: dataset.image_folder,
    streaming: dataset.streaming,
  });
}
