import { createHash } from "node:crypto";
import type { ConfigNames } from "../hub/dataset_config.ts";
import { Dataset } from "./dataset.ts";
import type { ExampleRules } from "./read_example.ts";
import { DataError } from "./data_error.ts";
import { fingerprintFiles } from "./splits/fingerprint.ts";
import { type DatasetFormat, type ExampleOf, formatReader } from "./rows/formats.ts";
import { findDataFiles } from "./sources/find_data_files.ts";
import { renameColumns } from "./sources/mapped_source.ts";
import { MemorySource } from "./sources/memory_source.ts";
import { folderAt } from "./sources/local_file.ts";
import { type DataFiles, openSplit, type SelectedRows } from "./sources/open_source.ts";
import type { DataFolder, Row } from "./rows/row.ts";
import { JoinedSource, type RowSource } from "./sources/row_source.ts";
import { findPictureColumns } from "./rows/picture_columns.ts";
import { preprocessSource } from "./preprocessing/preprocess_source.ts";
import { type MinRatings, ratedReader } from "./rows/rated_turns.ts";
import type { PreprocessingOptions } from "./preprocessing/preprocessing_module.ts";
import { StreamingDataset } from "./streaming_dataset.ts";

/** How rows become examples, for any source. */
export interface ExampleOptions<F extends DatasetFormat> {
  /** The format of the examples. */
  readonly format: F;
  /** New column names by old ones; missing names are ignored. */
  readonly renameColumns?: Readonly<Record<string, string>>;
  /** The most rows to take, from the start; null: all. */
  readonly maxSamples?: number | null;
  /** One example of each turn; the pictures are shared. vqa alone. */
  readonly splitTurns?: boolean;
  /** Least ratings of turns (FineVision). vqa alone. */
  readonly ratings?: MinRatings;
  /** The most images an example may have; a row with more is skipped. */
  readonly maxImagesPerExample?: number;
  /** A preprocessing module, applied after renaming: a path, a specifier, or `builtin:NAME`. */
  readonly preprocessingFn?: string | null;
  /** What the preprocessing module may do, and where it is looked for. */
  readonly preprocessing?: PreprocessingOptions;
}

/** What to load. */
export interface LoadDatasetOptions<F extends DatasetFormat> extends ExampleOptions<F> {
  /** A `.parquet`, `.jsonl`, `.json` or `.csv` file, a folder of them, or a Hub id. */
  readonly path: string;
  /** Split with slices, such as `train[:5%]`; default `train`. */
  readonly split?: string;
  /** Read from start to end in constant memory rather than at random. */
  readonly streaming?: boolean;
  /** The folder that relative paths of pictures start from; null: that of the data file. */
  readonly imageFolder?: string | null;
  /** Finds the files of a path that is not local; default: on the Hub, see `hubDataFiles`. */
  readonly resolveFiles?: (id: string, configs: ConfigNames) => Promise<DataFiles>;
  /** The configurations to take, their rows one after the other; `all`: every one. */
  readonly configs?: ConfigNames;
}

/** Examples of a format, at random or as a stream. */
export type AnyDataset<F extends DatasetFormat> =
  | Dataset<ExampleOf<F>>
  | StreamingDataset<ExampleOf<F>>;

/**
 * Loads a data set.
 *
 * @throws {DataError} if it is not there or corrupt, lacks a split or a column, or more than
 *   10 % of its rows cannot be used
 */
export function loadDataset<F extends DatasetFormat>(
  options: LoadDatasetOptions<F> & { readonly streaming: true },
): Promise<StreamingDataset<ExampleOf<F>>>;
export function loadDataset<F extends DatasetFormat>(
  options: LoadDatasetOptions<F> & { readonly streaming?: false },
): Promise<Dataset<ExampleOf<F>>>;
export function loadDataset<F extends DatasetFormat>(
  options: LoadDatasetOptions<F>,
): Promise<AnyDataset<F>>;
export async function loadDataset<F extends DatasetFormat>(
  options: LoadDatasetOptions<F>,
): Promise<AnyDataset<F>> {
  const { path, split = "train", streaming = false } = options;
  const { configs = [], ratings = {} } = options;
  const files = await findDataFiles(path, configs, options.resolveFiles);
  const { imageFolder = null } = options;
  const folderOf = imageFolder === null ? files.folderOf : () => folderAt(imageFolder);
  const { source, paths, selected } = await openSplit({ ...files, folderOf }, split);
  const fingerprint = await fingerprintFiles(paths, {
    split,
    format: options.format,
    renameColumns: options.renameColumns ?? {},
    maxSamples: options.maxSamples ?? null,
    splitTurns: options.splitTurns ?? false,
    // Absent unless set, so that the fingerprints of earlier runs stay.
    ...(configs.length > 0 ? { configs } : {}),
    ...(Object.keys(ratings).length > 0 ? { ratings } : {}),
  });
  return await finish({ name: path, source, selected, fingerprint }, options, streaming);
}

/**
 * A data set of rows made by code.
 *
 * @throws {DataError} as `loadDataset`
 */
export async function datasetFromRows<F extends DatasetFormat>(
  rows: readonly Row[],
  options: ExampleOptions<F> & {
    readonly name?: string;
    readonly fingerprint?: string;
    /** Reads the files that rows name; default: rows may not name files. */
    readonly folder?: DataFolder;
  },
): Promise<Dataset<ExampleOf<F>>> {
  const { name = "rows", fingerprint = "", folder } = options;
  const source = new MemorySource(name, rows, folder);
  return await finish({ name, source, selected: null, fingerprint }, options, false) as Dataset<
    ExampleOf<F>
  >;
}

/** Rows that are found and not read yet. */
interface FoundRows {
  readonly name: string;
  readonly source: RowSource;
  /** What a slice took of the split; null: there is no slice. */
  readonly selected: SelectedRows | null;
  readonly fingerprint: string;
}

/** Which part of the rows is taken: `8 of 160 rows (train[:5%])`; null: all. */
function selectionText(
  selected: SelectedRows | null,
  limit: number | null,
  rows: number | null,
): string | null {
  const isLimited = limit !== null && (rows === null || limit < rows);
  if (selected === null && !isLimited) return null;
  const why = [
    ...(selected === null ? [] : [selected.expression]),
    ...(isLimited ? [`max_samples ${limit}`] : []),
  ];
  const of = selected?.of ?? rows;
  const taken = isLimited ? limit : selected!.rows;
  return of === null
    ? `at most ${taken} rows (${why.join(", ")})`
    : `${taken} of ${of} rows (${why.join(", ")})`;
}

async function finish<F extends DatasetFormat>(
  { name, source, selected, fingerprint }: FoundRows,
  options: ExampleOptions<F>,
  streaming: boolean,
): Promise<AnyDataset<F>> {
  const limit = options.maxSamples ?? Infinity;
  if (limit <= 0 || Number.isNaN(limit)) {
    throw new DataError(`Cannot load ${name}: max_samples is ${limit}, want at least 1, or null`);
  }
  // The rows of a stream are not counted: it ends when they end.
  const available = streaming ? selected?.rows ?? null : await source.countRows();
  const selection = selectionText(selected, options.maxSamples ?? null, available);
  const end = streaming ? limit : Math.min(limit, await source.countRows());
  const limited = limit === Infinity ? source : new JoinedSource(name, [{ source, start: 0, end }]);
  let rows = renameColumns(limited, options.renameColumns ?? {});
  let identity = fingerprint;
  if (options.preprocessingFn) {
    const preprocessing = { ...options.preprocessing, module: options.preprocessingFn };
    const preprocessed = await preprocessSource(rows, preprocessing, streaming);
    rows = preprocessed.source;
    identity = createHash("sha256").update(`${fingerprint} ${preprocessed.identity}`).digest("hex");
  }
  const { reader, notes: ratingNotes } = ratedReader(
    formatReader(options.format),
    options.ratings ?? {},
    rows.columns,
  );
  const found = await findPictureColumns(rows, reader.textColumns);
  const notes = [...rows.notes ?? [], ...found.notes, ...ratingNotes];
  const rules: ExampleRules<ExampleOf<F>> = {
    reader,
    pictureColumns: found.columns,
    splitTurns: options.splitTurns ?? false,
    maxImages: options.maxImagesPerExample ?? Infinity,
  };
  return streaming
    ? new StreamingDataset(rows, rules, identity, { name, notes, selection })
    : await Dataset.open(rows, rules, identity, { name, notes, selection });
}
