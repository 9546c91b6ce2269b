import { parse } from "@std/yaml";
import { globToRegExp } from "./glob.ts";
import { HubError } from "./hub_error.ts";

/**
 * The splits that a data set's README declares (`configs:` with `data_files:` in its head), as
 * files of the repository.
 *
 * Source: https://huggingface.co/docs/hub/datasets-manual-configuration
 *
 * @param readme the text of README.md
 * @param paths the repository's files
 * @param origin the id, for messages
 * @param wanted name of a configuration; null: the only one or the default
 * @returns files by split; null if the README declares none
 * @throws {HubError} if there are several configurations and no default, or none of that name
 */
export function declaredSplits(
  readme: string,
  paths: readonly string[],
  origin: string,
  wanted: string | null = null,
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
  const names = configs.map((one) => String(one.config_name)).join(", ");
  if (wanted !== null) {
    const config = configs.find((one) => one.config_name === wanted);
    if (config !== undefined) return splitsOfConfig(config, paths, origin);
    throw new HubError(
      "not found",
      `Cannot load ${origin}: it has no configuration ${wanted}; it has ${names}`,
    );
  }
  const config = configs.length === 1 ? configs[0] : configs.find((one) => one.default === true) ??
    configs.find((one) => one.config_name === "default");
  if (config === undefined) {
    throw new HubError(
      "not found",
      `Cannot load ${origin}: it has the configurations ${names} and no default; download the one you want and give its folder`,
    );
  }
  return splitsOfConfig(config, paths, origin);
}

/** The files of one configuration. */
function splitsOfConfig(
  config: Record<string, unknown>,
  paths: readonly string[],
  origin: string,
): Map<string, string[]> {
  const folder = typeof config.data_dir === "string" ? `${config.data_dir}/` : "";
  const splits = new Map<string, string[]>();
  for (const { split, patterns } of listDataFiles(config.data_files)) {
    const wanted = patterns.map((pattern) => globToRegExp(folder + pattern.replace(/^\.\//, "")));
    const found = paths.filter((path) => wanted.some((pattern) => pattern.test(path))).sort();
    if (found.length === 0) {
      throw new HubError(
        "not found",
        `Cannot load ${origin}: its README names ${patterns.join(", ")} for ${split}, ` +
          `and it has no such files`,
      );
    }
    splits.set(split, [...(splits.get(split) ?? []), ...found]);
  }
  return splits;
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
