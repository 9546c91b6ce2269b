import { basename } from "node:path";
import { openCsv } from "./csv_source.ts";
import { type ConfigNames, declaredSplits } from "../../hub/dataset_config.ts";
import { HubError } from "../../hub/hub_error.ts";
import { DataError } from "../data_error.ts";
import { gunzipped } from "./gzip_file.ts";
import { localFolder } from "./local_file.ts";
import { openJsonLines } from "./json_lines_source.ts";
import { openJson } from "./json_source.ts";
import { ParquetSource } from "./parquet_source.ts";
import type { DataFolder, PlacedRow } from "../rows/row.ts";
import { JoinedSource, type RowSource, type SourceRange } from "./row_source.ts";
import {
  DATA_EXTENSIONS,
  isDataFile,
  keywordIn,
  pathsOfConfigs,
  splitsOfFiles,
} from "../splits/split_files.ts";
import {
  canonicalSplit,
  findSplit,
  parseSplit,
  sliceBounds,
  SPLIT_ALIASES,
} from "../splits/split_spec.ts";

/** The files of a data set by split, and how rows reach the files beside them. */
export interface DataFiles {
  /** What the user named. */
  readonly origin: string;
  /** Paths by split. */
  readonly splits: ReadonlyMap<string, readonly string[]>;
  /** Makes a path one of this machine, by downloading it; default: it is one. */
  readonly localPath?: (file: string) => Promise<string>;
  /** Reads files that the rows of a data file name; default: from the local folder. */
  readonly folderOf?: (file: string) => DataFolder;
}

/**
 * Opens one data file, by the end of its name.
 *
 * @throws {DataError} if it is of another kind, missing or corrupt
 */
export async function openFile(path: string, folder?: DataFolder): Promise<RowSource> {
  const name = path.toLowerCase();
  if (name.endsWith(".gz") && isDataFile(name)) {
    return await openFile(await gunzipped(path), folder ?? localFolder(path));
  }
  if (name.endsWith(".parquet")) return await ParquetSource.open(path, folder);
  if (name.endsWith(".jsonl") || name.endsWith(".ndjson")) return await openJsonLines(path, folder);
  if (name.endsWith(".json")) return await openJson(path, folder);
  if (name.endsWith(".csv") || name.endsWith(".tsv")) return await openCsv(path, folder);
  throw new DataError(
    `Cannot read ${path}: its kind is not known; want ${DATA_EXTENSIONS.join(", ")}, or a folder`,
  );
}

/** Which configurations of a local data set to take (`dataset.name`). */
export interface ConfigOptions {
  /** As its README declares them, or the folders of their names below it; none: the default one. */
  readonly configs?: ConfigNames;
  /** Take the folder itself if it has none of them; default false. */
  readonly orWhole?: boolean;
}

/**
 * The splits of a local file or folder.
 *
 * A file that is named itself answers to any of the usual splits; the one in its name, else
 * `train`, is the one it shows.
 *
 * @param path of a file or folder
 * @param options which configurations
 * @throws {DataError} if there is nothing, or nothing that can be read
 */
export async function localDataFiles(
  path: string,
  options: ConfigOptions = {},
): Promise<DataFiles> {
  const { configs = [] } = options;
  let info: Deno.FileInfo;
  try {
    info = await Deno.stat(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new DataError(`Cannot load ${path}: there is no such file or folder`, { cause: error });
  }
  if (info.isFile) {
    if (configs.length > 0 && configs[0] !== "all" && !options.orWhole) {
      throw noSuchConfig(path, configs);
    }
    const own = keywordIn(basename(path)) ?? "train";
    const names = [own, ...Object.keys(SPLIT_ALIASES).filter((name) => name !== own)];
    return { origin: path, splits: new Map(names.map((name) => [name, [path]])) };
  }
  const files: string[] = [];
  await listDataFiles(path, "", files);
  await refuseSavedToDisk(path);
  const splits = await declaredLocalSplits(path, files, configs) ??
    splitsOfFiles(ownFiles(path, files, options));
  if (splits.size === 0) {
    throw new DataError(
      `Cannot load ${path}: the folder has no ${DATA_EXTENSIONS.join(", ")} files`,
    );
  }
  const root = path.replace(/\/+$/, "");
  return {
    origin: path,
    splits: new Map(
      [...splits].map(([split, names]) => [split, names.map((name) => `${root}/${name}`)]),
    ),
  };
}

/** The files below the folders of configurations; all if there are no such folders, and they may be. */
function ownFiles(
  path: string,
  files: readonly string[],
  { configs = [], orWhole = false }: ConfigOptions,
): readonly string[] {
  const own = pathsOfConfigs(files, configs);
  if (own.length > 0 || files.length === 0 || orWhole) return own.length > 0 ? own : files;
  throw noSuchConfig(path, configs);
}

function noSuchConfig(path: string, configs: ConfigNames): DataError {
  return new DataError(
    `Cannot load the configuration ${configs.join(", ")} of ${path}: it has no README that ` +
      "declares it and no folder of that name; leave out dataset.name",
  );
}

/** The splits that the README of a clone declares; null if it declares none. */
async function declaredLocalSplits(
  folder: string,
  files: readonly string[],
  configs: ConfigNames,
): Promise<Map<string, string[]> | null> {
  let readme: string;
  try {
    readme = await Deno.readTextFile(`${folder}/README.md`);
  } catch {
    return null;
  }
  try {
    const declared = declaredSplits(readme, files, folder, configs);
    return declared === null || declared.size === 0 ? null : declared;
  } catch (error) {
    if (!(error instanceof HubError)) throw error;
    throw new DataError(error.message, { cause: error });
  }
}

/**
 * Folders of `save_to_disk` hold Arrow files.
 *
 * @throws {DataError} if the folder is one
 */
async function refuseSavedToDisk(folder: string): Promise<void> {
  for (const name of ["dataset_dict.json", "state.json"]) {
    const isThere = await Deno.stat(`${folder}/${name}`).then(({ isFile }) => isFile, () => false);
    if (!isThere) continue;
    throw new DataError(
      `Cannot load ${folder}: it is a folder of datasets' save_to_disk (Arrow files), want ` +
        `parquet; write it with load_from_disk(…)["train"].to_parquet("train.parquet")`,
    );
  }
}

async function listDataFiles(root: string, under: string, found: string[]): Promise<void> {
  for await (const entry of Deno.readDir(under === "" ? root : `${root}/${under}`)) {
    const path = under === "" ? entry.name : `${under}/${entry.name}`;
    let isDirectory = entry.isDirectory;
    if (entry.isSymlink) {
      try {
        isDirectory = (await Deno.stat(`${root}/${path}`)).isDirectory;
      } catch {
        continue;
      }
      if (isDirectory) continue; // links to folders could go round in circles
    }
    if (isDirectory) {
      if (!/^(\.|__)/.test(entry.name)) await listDataFiles(root, path, found);
    } else if (isDataFile(path)) found.push(path);
  }
}

/** What the slices of a split expression take. */
export interface SelectedRows {
  readonly expression: string;
  readonly rows: number;
  /** Rows of the splits that are cut. */
  readonly of: number;
}

/**
 * Opens the rows that a split expression selects.
 *
 * @param files what there is
 * @param expression such as `train[:5%]+validation`
 * @returns the rows, the files they come from, and what a slice took; null: there is no slice
 * @throws {DataError} for an unknown split (lists the available ones) or an empty selection
 */
export async function openSplit(
  files: DataFiles,
  expression: string,
): Promise<{ source: RowSource; paths: string[]; selected: SelectedRows | null }> {
  const ranges: SourceRange[] = [];
  const wholes = new Map<string, RowSource>();
  const paths = new Set<string>();
  const opened = new Map<string, RowSource>();
  const available = [...files.splits.keys()];
  for (const slice of parseSplit(expression)) {
    const everything = canonicalSplit(slice.split) === "all" && !files.splits.has("all");
    const names = everything ? available : [findSplit(slice.split, available, files.origin)];
    const splitPaths = [...new Set(names.flatMap((name) => files.splits.get(name) ?? []))];
    const sources: RowSource[] = [];
    for (const path of splitPaths) {
      const local = await files.localPath?.(path) ?? path;
      const source = opened.get(path) ??
        labelled(await openFile(local, files.folderOf?.(path)), folderLabel(path, splitPaths));
      opened.set(path, source);
      sources.push(source);
      paths.add(local);
    }
    const whole = joined(slice.split, sources);
    wholes.set(splitPaths.join("\n"), whole);
    if (slice.from === null && slice.to === null) {
      ranges.push({ source: whole, start: 0, end: Infinity });
      continue;
    }
    const { start, end } = sliceBounds(slice, await whole.countRows());
    ranges.push({ source: whole, start, end });
  }
  if (ranges.every((range) => range.end <= range.start)) {
    throw new DataError(
      `Cannot load ${expression} of ${files.origin}: the slice has no rows; ${await describeRows(
        files,
        opened,
      )}`,
    );
  }
  const only = ranges.length === 1 && ranges[0].start === 0 && ranges[0].end === Infinity;
  const isCut = ranges.some(({ end }) => end !== Infinity);
  const selected = isCut ? await selectedRows(expression, ranges, [...wholes.values()]) : null;
  return {
    selected,
    source: only ? ranges[0].source : new JoinedSource(files.origin, ranges),
    paths: [...paths],
  };
}

async function selectedRows(
  expression: string,
  ranges: readonly SourceRange[],
  wholes: readonly RowSource[],
): Promise<SelectedRows> {
  let rows = 0, of = 0;
  for (const { source, start, end } of ranges) {
    rows += (end === Infinity ? await source.countRows() : end) - start;
  }
  for (const whole of wholes) of += await whole.countRows();
  return { expression, rows, of };
}

/** The folder of a file whose name another file of the split has too; else nothing. */
function folderLabel(path: string, paths: readonly string[]): string {
  const same = paths.filter((other) => basename(other) === basename(path));
  return same.length > 1 ? path.slice(0, -basename(path).length) : "";
}

/** Places of rows with a folder before them, so that no two rows share one. */
function labelled(source: RowSource, label: string): RowSource {
  if (label === "") return source;
  const mark = (placed: PlacedRow): PlacedRow => ({ ...placed, place: label + placed.place });
  return {
    name: label + source.name,
    columns: source.columns,
    notes: source.notes,
    countRows: () => source.countRows(),
    get: async (index) => mark(await source.get(index)),
    async *rows(start, end, columns, shapeOnly) {
      for await (const placed of source.rows(start, end, columns, shapeOnly)) yield mark(placed);
    },
  };
}

function joined(name: string, sources: readonly RowSource[]): RowSource {
  if (sources.length === 1) return sources[0];
  return new JoinedSource(name, sources.map((source) => ({ source, start: 0, end: Infinity })));
}

async function describeRows(
  files: DataFiles,
  opened: ReadonlyMap<string, RowSource>,
): Promise<string> {
  const counts: string[] = [];
  for (const [split, paths] of files.splits) {
    let rows = 0;
    let known = true;
    for (const path of paths) {
      const source = opened.get(path);
      if (source === undefined) known = false;
      else rows += await source.countRows();
    }
    if (known) counts.push(`${split} has ${rows} rows`);
  }
  return counts.join(", ");
}
