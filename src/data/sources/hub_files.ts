import { posix } from "node:path";
import { chosenConfigs, type ConfigNames, declaredSplits } from "../../hub/dataset_config.ts";
import { defaultClient, downloadFile, type DownloadProgress } from "../../hub/download_file.ts";
import { openSnapshot, type RepoSnapshot } from "../../hub/download_snapshot.ts";
import type { HubClient } from "../../hub/hub_client.ts";
import { HubError } from "../../hub/hub_error.ts";
import { DataError, RowSkipped } from "../data_error.ts";
import { readPicture } from "./local_file.ts";
import type { DataFiles } from "./open_source.ts";
import type { DataFolder } from "../rows/row.ts";
import {
  DATA_EXTENSIONS,
  isDataFile,
  pathsOfConfigs,
  splitsOfFiles,
} from "../splits/split_files.ts";

/** Where the Hub keeps data sets that it converted itself. */
const CONVERTED_REVISION = "refs/convert/parquet";

/** How to find a data set of the Hub. */
export interface HubFilesOptions {
  /** Branch, tag or commit; default what stands after `@` in the id, else `main`. */
  readonly revision?: string;
  /** The configurations to take (`dataset.name`); `all`: every one. */
  readonly configs?: ConfigNames;
  /** The Hub to use; default: as the environment says. */
  readonly client?: HubClient;
  /** Called with the progress of each file. */
  readonly onProgress?: (progress: DownloadProgress) => void;
}

/**
 * The splits of a data set of the Hub: as its README declares them, else by file names, else from
 * the parquet files that the Hub made of it. Files are downloaded when they are opened.
 *
 * @param id `owner/name`, `owner/name@revision`
 * @throws {HubError} if there is no such data set, no access, or no network and no cache
 * @throws {DataError} if it has no files that can be read
 */
export async function hubDataFiles(id: string, options: HubFilesOptions = {}): Promise<DataFiles> {
  const client = options.client ?? defaultClient();
  const [repo, revision] = id.split("@");
  const snapshot = await openSnapshot({
    repo,
    type: "dataset",
    revision: options.revision ?? revision,
    client,
  });
  const configs = options.configs ?? [];
  const read = { client, configs, onProgress: options.onProgress };
  const own = await splitsOf(snapshot, id, read);
  if (own.size > 0) return dataFiles(id, snapshot, own, read);
  try {
    const converted = await openSnapshot({
      repo,
      type: "dataset",
      revision: CONVERTED_REVISION,
      client,
    });
    const splits = convertedSplits(converted.paths, configs, id);
    if (splits.size > 0) return dataFiles(id, converted, splits, read);
  } catch (error) {
    if (!(error instanceof HubError) || error.kind !== "not found") throw error;
  }
  const configured = configs.length === 0 ? "" : ` of the configuration ${configs.join(", ")}`;
  throw new DataError(
    `Cannot load ${id}: it has no ${DATA_EXTENSIONS.join(", ")} files${configured} (but ${
      snapshot.paths.slice(0, 5).join(", ")
    }${snapshot.paths.length > 5 ? ", …" : ""})`,
  );
}

interface ReadOptions {
  readonly client: HubClient;
  readonly configs: ConfigNames;
  readonly onProgress?: (progress: DownloadProgress) => void;
}

async function splitsOf(
  snapshot: RepoSnapshot,
  id: string,
  read: ReadOptions,
): Promise<Map<string, string[]>> {
  if (snapshot.paths.includes("README.md")) {
    const readme = await downloadFile({ ...snapshot.at, path: "README.md", ...read });
    const declared = declaredSplits(
      await Deno.readTextFile(readme),
      snapshot.paths,
      id,
      read.configs,
    );
    if (declared !== null) {
      const readable = new Map(
        [...declared].map(([split, paths]) => [split, paths.filter(isDataFile)]),
      );
      for (const [split, paths] of readable) {
        if (paths.length === 0) readable.delete(split);
      }
      return readable;
    }
  }
  return splitsOfFiles(pathsOfConfigs(snapshot.paths, read.configs));
}

/** `default/train/0000.parquet`, `default/partial-test/0000.parquet`. */
function convertedSplits(
  paths: readonly string[],
  configs: ConfigNames,
  id: string,
): Map<string, string[]> {
  const files = [...paths].sort().flatMap((path) => {
    const match = /^([^/]+)\/(?:partial-)?([^/]+)\/\d+\.parquet$/.exec(path);
    return match === null ? [] : [{ path, config: match[1], split: match[2] }];
  });
  const available = [...new Set(files.map(({ config }) => config))];
  if (available.length === 0) return new Map();
  const usual = available.includes("default") ? "default" : undefined;
  const chosen = chosenConfigs(available, configs, id, usual);
  const splits = new Map<string, string[]>();
  for (const name of chosen) {
    for (const { path, config, split } of files) {
      if (config === name) splits.set(split, [...(splits.get(split) ?? []), path]);
    }
  }
  return splits;
}

function dataFiles(
  id: string,
  { at }: RepoSnapshot,
  splits: ReadonlyMap<string, readonly string[]>,
  read: ReadOptions,
): DataFiles {
  return {
    origin: id,
    splits,
    localPath: (path) => downloadFile({ ...at, path, ...read }),
    folderOf: (file): DataFolder => ({
      async read(path: string): Promise<Uint8Array> {
        const inside = posix.normalize(posix.join(posix.dirname(file), path));
        if (posix.isAbsolute(path) || inside.startsWith("..")) {
          throw new RowSkipped(`image file ${path} is outside the data set ${id}`);
        }
        try {
          return await readPicture(
            await downloadFile({ ...at, path: inside, client: read.client }),
            path,
          );
        } catch (error) {
          if (!(error instanceof HubError) || error.kind !== "not found") throw error;
          throw new RowSkipped(`image file ${path}: the data set ${id} has no such file`, "", {
            cause: error,
          });
        }
      },
    }),
  };
}
