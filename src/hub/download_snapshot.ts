import { join } from "node:path";
import { globToRegExp } from "./glob.ts";
import { defaultClient, downloadFile, type DownloadProgress } from "./download_file.ts";
import {
  cachedCommit,
  cachedFiles,
  repoFolder,
  type RepoRevision,
  storeCommit,
} from "./hub_cache.ts";
import type { HubClient } from "./hub_client.ts";
import { HubError } from "./hub_error.ts";

/** Which files to get. */
export interface DownloadSnapshotOptions {
  /** `owner/name`. */
  readonly repo: string;
  /** Model or data set; default model. */
  readonly type?: "model" | "dataset";
  /** Branch, tag or commit; default `main`. */
  readonly revision?: string;
  /** Which of the files to take: globs, or a function of all their paths. Default: all. */
  readonly patterns?: readonly string[] | ((paths: readonly string[]) => readonly string[]);
  /** The Hub to use; default: as the environment says. */
  readonly client?: HubClient;
  /** Called with the progress of each file. */
  readonly onProgress?: (progress: DownloadProgress) => void;
}

/** A repository's files at one commit. */
export interface RepoSnapshot {
  /** Which repository, at which commit. */
  readonly at: RepoRevision;
  /** The folder in the cache; files are in it once they are downloaded. */
  readonly folder: string;
  /** All files that the repository has (offline: those that the cache has). */
  readonly paths: readonly string[];
}

/**
 * The commit of a revision, and its files, without downloading any.
 *
 * @throws {HubError} if there is no such repository, no access, or no network and no cache
 */
export async function openSnapshot(
  options: Omit<DownloadSnapshotOptions, "patterns" | "onProgress">,
): Promise<RepoSnapshot> {
  const { repo, type = "model", revision = "main" } = options;
  const client = options.client ?? defaultClient();
  const { cacheDir, offline, endpoint } = client.settings;
  const at: RepoRevision = { repo, type, revision };
  const fromCache = async (): Promise<RepoSnapshot | null> => {
    const commit = await cachedCommit(cacheDir, at);
    const paths = commit === null ? [] : await cachedFiles(cacheDir, at, commit);
    return commit === null || paths.length === 0 ? null : snapshot(cacheDir, at, commit, paths);
  };
  if (offline) {
    const cached = await fromCache();
    if (cached !== null) return cached;
    throw new HubError(
      "offline",
      `Cannot load the ${type} ${repo}: HF_HUB_OFFLINE is set, and ${cacheDir} does not have it; ` +
        `unset HF_HUB_OFFLINE once, or give a local folder`,
    );
  }
  try {
    const commit = await client.commitOf(at);
    const files = await client.listFiles(at, commit);
    await storeCommit(cacheDir, at, commit);
    return snapshot(cacheDir, at, commit, files.map((file) => file.path));
  } catch (error) {
    if (!(error instanceof HubError) || error.kind !== "unreachable") throw error;
    const cached = await fromCache();
    if (cached === null) throw error;
    console.warn(`Cannot reach ${endpoint}: using ${repo} as it is in the cache`);
    return cached;
  }
}

/**
 * Downloads the files of a repository that are wanted and not in the cache yet.
 *
 * @returns the folder that holds them
 * @throws {HubError} as `openSnapshot` and `downloadFile`
 */
export async function downloadSnapshot(options: DownloadSnapshotOptions): Promise<string> {
  const client = options.client ?? defaultClient();
  const { at, folder, paths } = await openSnapshot({ ...options, client });
  for (const path of selectPaths(paths, options.patterns)) {
    await downloadFile({ ...at, path, client, onProgress: options.onProgress });
  }
  return folder;
}

function selectPaths(
  paths: readonly string[],
  patterns: DownloadSnapshotOptions["patterns"],
): readonly string[] {
  if (patterns === undefined) return paths;
  if (typeof patterns === "function") return patterns(paths);
  const wanted = patterns.map(globToRegExp);
  return paths.filter((path) => wanted.some((pattern) => pattern.test(path)));
}

function snapshot(
  cacheDir: string,
  at: RepoRevision,
  commit: string,
  paths: readonly string[],
): RepoSnapshot {
  return {
    at: { ...at, revision: commit },
    folder: join(repoFolder(cacheDir, at), "snapshots", commit),
    paths,
  };
}
