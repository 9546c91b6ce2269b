import { parse } from "@std/yaml";
import { globToRegExp } from "./glob.ts";
import { HubError } from "./hub_error.ts";

/** `dataset.name`: configurations by name, `all` for all of them; none for the default. */
export type ConfigNames = readonly string[];

/**
 * The configurations that are wanted.
 *
 * @param available their names, in the order of the data set
 * @param wanted as a user names them
 * @param origin the id, for messages
 * @param fallback the one to take if none is named; undefined: only one that is alone
 * @returns names of `available`
 * @throws {HubError} if one does not exist, or none is named and there are several
 */
export function chosenConfigs(
  available: readonly string[],
  wanted: ConfigNames,
  origin: string,
  fallback?: string,
): readonly string[] {
  const listed = available.join(", ");
  if (wanted.length === 0) {
    if (available.length === 1) return available;
    if (fallback !== undefined) return [fallback];
    throw new HubError(
      "not found",
      `Cannot load ${origin}: it has the configurations ${listed} and no default; name one with ` +
        "dataset.name (eval, data: --name), several as a list, or all of them with all",
    );
  }
  if (wanted.length === 1 && wanted[0] === "all" && !available.includes("all")) return available;
  const missing = wanted.find((name) => !available.includes(name));
  if (missing === undefined) return [...new Set(wanted)];
  throw new HubError(
    "not found",
    `Cannot load the configuration ${JSON.stringify(missing)} of ${origin}: it has ${
      listed || "none"
    }`,
  );
}

/**
 * The splits that a data set's README declares (`configs:` with `data_files:` in its head), as
 * files of the repository.
 *
 * Source: https://huggingface.co/docs/hub/datasets-manual-configuration
 *
 * @param readme the text of README.md
 * @param paths the repository's files
 * @param origin the id, for messages
 * @param names the configurations to take, their rows one after the other
 * @returns files by split; null if the README declares none
 * @throws {HubError} if a configuration does not exist, or there are several and no default
 */
export function declaredSplits(
  readme: string,
  paths: readonly string[],
  origin: string,
  names: ConfigNames = [],
): Map<string, string[]> | null {
  const head = /^---\r?\n([\s\S]*?)\r?\n---\s*(?:\r?\n|$)/.exec(readme.replace(/^\ufeff/, ""));
  if (head === null) return null;
  let meta: unknown;
  try {
    meta = parse(head[1]);
  } catch {
    return null; // a README that is not YAML declares nothing
  }
  const configs = isRecord(meta) && Array.isArray(meta.configs)
    ? meta.configs.filter(isRecord).filter((config) => config.data_files !== undefined)
    : [];
  if (configs.length === 0) return null;
  const nameOf = (config: Record<string, unknown>) => String(config.config_name ?? "default");
  const usual = configs.find((one) => one.default === true) ??
    configs.find((one) => one.config_name === "default");
  const chosen = chosenConfigs(
    configs.map(nameOf),
    names,
    origin,
    usual === undefined ? undefined : nameOf(usual),
  );
  const splits = new Map<string, string[]>();
  for (const name of chosen) {
    for (const [split, files] of filesOf(configs.find((one) => nameOf(one) === name)!)) {
      splits.set(split, [...new Set([...(splits.get(split) ?? []), ...files])]);
    }
  }
  return splits;

  /** The files of a configuration, by split. */
  function filesOf(config: Record<string, unknown>): [string, string[]][] {
    const folder = typeof config.data_dir === "string" ? `${config.data_dir}/` : "";
    return listDataFiles(config.data_files).map(({ split, patterns }) => {
      const wanted = patterns.map((pattern) => globToRegExp(folder + pattern.replace(/^\.\//, "")));
      const found = paths.filter((path) => wanted.some((pattern) => pattern.test(path))).sort();
      if (found.length === 0) {
        throw new HubError(
          "not found",
          `Cannot load ${origin}: its README names ${patterns.join(", ")} for ${split}, ` +
            `and it has no such files`,
        );
      }
      return [split, found];
    });
  }
}

function listDataFiles(dataFiles: unknown): { split: string; patterns: string[] }[] {
  const texts = (value: unknown): string[] =>
    (Array.isArray(value) ? value : [value]).filter((item) => typeof item === "string");
  if (typeof dataFiles === "string") return [{ split: "train", patterns: [dataFiles] }];
  if (Array.isArray(dataFiles)) {
    if (dataFiles.every((item) => typeof item === "string")) {
      return [{ split: "train", patterns: dataFiles }];
    }
    return dataFiles.filter(isRecord).map((item) => ({
      split: typeof item.split === "string" ? item.split : "train",
      patterns: texts(item.path),
    }));
  }
  if (!isRecord(dataFiles)) return [];
  return Object.entries(dataFiles).map(([split, path]) => ({ split, patterns: texts(path) }));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
