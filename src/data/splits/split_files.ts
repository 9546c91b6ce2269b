/**
 * Which files of a folder belong to which split, by their names, as Hugging Face `datasets` finds
 * them: `data/train-00000-of-00002.parquet`, `train/…`, `train.parquet`; else all are `train`.
 *
 * Source: https://huggingface.co/docs/datasets/repository_structure
 *
 * @module
 */
import { SPLIT_ALIASES } from "./split_spec.ts";

/** The readable kinds of files, by extension. */
export const DATA_EXTENSIONS = [
  ".parquet",
  ".jsonl",
  ".json",
  ".csv",
  ".tsv",
  ".ndjson",
  ".jsonl.gz",
  ".json.gz",
  ".csv.gz",
  ".tsv.gz",
  ".ndjson.gz",
] as const;

/** JSON files beside the data that are not data. */
const NOT_DATA = new Set([
  "dataset_info.json",
  "dataset_infos.json",
  "dataset_dict.json",
  "state.json",
  "config.json",
  "package.json",
]);

/**
 * The files of configurations where no README declares them: those below folders of their names.
 *
 * @param configs none, or `all` alone: all files
 */
export function pathsOfConfigs(
  paths: readonly string[],
  configs: readonly string[],
): readonly string[] {
  if (configs.length === 0) return paths;
  const own = paths.filter((path) => configs.some((config) => path.startsWith(`${config}/`)));
  return own.length === 0 && configs.length === 1 && configs[0] === "all" ? paths : own;
}

/** Whether a file can be read, by its name. */
export function isDataFile(path: string): boolean {
  const parts = path.split("/");
  const file = parts[parts.length - 1].toLowerCase();
  if (parts.some((part) => part.startsWith(".") || part.startsWith("__"))) return false;
  return !NOT_DATA.has(file) && DATA_EXTENSIONS.some((extension) => file.endsWith(extension));
}

/**
 * Sorts files into splits.
 *
 * @param paths relative to the folder, with `/`
 * @returns files by split, each list sorted; splits in the order train, validation, test, others
 */
export function splitsOfFiles(paths: readonly string[]): Map<string, string[]> {
  const files = onlyOneKind(paths.filter(isDataFile)).sort();
  const sharded = groupBy(
    files,
    (path) => /^(?:.*\/)?data\/([\w.-]+?)-\d{5}-of-\d{5}[^/]*$/.exec("/" + path)?.[1] ?? null,
  );
  if (sharded.size > 0) return inUsualOrder(sharded);
  const folders = groupBy(files, (path) => {
    const names = path.split("/").slice(0, -1);
    for (const name of names) {
      const split = keywordIn(name);
      if (split !== null) return split;
    }
    return null;
  });
  if (folders.size > 0) return inUsualOrder(folders);
  const named = groupBy(files, (path) => keywordIn(path.split("/").at(-1) ?? ""));
  if (named.size > 0) return inUsualOrder(named);
  return files.length === 0 ? new Map() : new Map([["train", files]]);
}

/** The split in a name, as a separate word: `my-train_v2.csv` says train. */
export function keywordIn(name: string): string | null {
  const words = name.toLowerCase().split(/[^a-z]+/);
  for (const [split, aliases] of Object.entries(SPLIT_ALIASES)) {
    if (aliases.some((alias) => words.includes(alias))) return split;
  }
  return null;
}

/** Files of the most common kind, parquet first: two kinds often hold the same rows. */
function onlyOneKind(paths: readonly string[]): string[] {
  let best: string[] = [];
  for (const extension of DATA_EXTENSIONS) {
    const some = paths.filter((path) => path.toLowerCase().endsWith(extension));
    if (some.length > best.length) best = some;
  }
  return best;
}

function groupBy(
  paths: readonly string[],
  splitOf: (path: string) => string | null,
): Map<string, string[]> {
  const splits = new Map<string, string[]>();
  for (const path of paths) {
    const split = splitOf(path);
    if (split === null) continue;
    const files = splits.get(split) ?? [];
    files.push(path);
    splits.set(split, files);
  }
  return splits;
}

function inUsualOrder(splits: Map<string, string[]>): Map<string, string[]> {
  const usual = Object.keys(SPLIT_ALIASES);
  const rank = (name: string) => usual.includes(name) ? usual.indexOf(name) : usual.length;
  return new Map([...splits].sort((a, b) => rank(a[0]) - rank(b[0])));
}
