/**
 * The data that `eval` measures on: a file, a folder, a Hub id, or the embedded drawings.
 *
 * @module
 */
import { DataError } from "../data/data_error.ts";
import type { Dataset } from "../data/dataset.ts";
import { EMBEDDED_DATA, embeddedDataset } from "../data/embedded/embedded_dataset.ts";
import {
  type DatasetFormat,
  type EvaluatedFormat,
  type ExampleOf,
  formatReader,
} from "../data/rows/formats.ts";
import { loadDataset } from "../data/load_dataset.ts";
import { findDataFiles } from "../data/sources/find_data_files.ts";
import { openSplit } from "../data/sources/open_source.ts";

/** What to load. */
export interface EvaluationDataOptions {
  /** `train` by default; `test` of the embedded drawings. */
  readonly split?: string;
  /** The most rows. */
  readonly limit?: number;
  /** Configurations of a data set that has several; `all`: every one. */
  readonly configs?: readonly string[];
}

/** The split that is measured if none is named. */
export function defaultSplit(path: string): string {
  return EMBEDDED_DATA.includes(path) ? "test" : "train";
}

/**
 * Loads data to measure on.
 *
 * @param path a file, folder, Hub id, `builtin:drawings`, `builtin:shapes` or
 *   `builtin:far_shapes`
 * @throws {DataError} if it is missing, corrupt, or of another format
 */
export async function evaluationData<F extends DatasetFormat>(
  path: string,
  format: F,
  options: EvaluationDataOptions = {},
): Promise<Dataset<ExampleOf<F>>> {
  const maxSamples = options.limit ?? null;
  if (!EMBEDDED_DATA.includes(path)) {
    const { split, configs } = options;
    return await loadDataset({ path, format, split, configs, maxSamples, streaming: false });
  }
  return await embeddedDataset(options.split ?? defaultSplit(path), { format, maxSamples }, path);
}

/** The formats in the order in which their columns are looked for. */
const FORMATS: readonly EvaluatedFormat[] = ["preference", "vqa", "grpo"];

/**
 * The format of data by its columns; vqa for the embedded drawings.
 *
 * @throws {DataError} if the data is missing or its columns are those of no format
 */
export async function formatOfData(
  path: string,
  { split, configs = [] }: EvaluationDataOptions = {},
): Promise<EvaluatedFormat> {
  if (EMBEDDED_DATA.includes(path)) return "vqa";
  const files = await findDataFiles(path, configs);
  const { source } = await openSplit(files, split ?? "train");
  for (const format of FORMATS) {
    try {
      formatReader(format).checkColumns(source.columns, path);
      return format;
    } catch (error) {
      if (!(error instanceof DataError)) throw error;
    }
  }
  throw new DataError(
    `Cannot tell what ${path} is for: its columns are ${source.columns.join(", ")}; want texts, ` +
      `conversations or messages (vqa), chosen and rejected (preference), or prompt (grpo)`,
  );
}
