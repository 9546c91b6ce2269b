/**
 * The cache's layout, which is `huggingface_hub`'s, so that Python and this project share files:
 * `models--ORG--NAME/` with `blobs/ETAG`, `refs/REVISION` and `snapshots/COMMIT/PATH` links.
 *
 * Source: https://huggingface.co/docs/huggingface_hub/guides/manage-cache
 *
 * @module
 */
import { dirname, join, relative } from "node:path";
import { HubError } from "./hub_error.ts";

/** The kinds of repositories used here. */
export type RepoType = "model" | "dataset";

/** One repository at one revision. */
export interface RepoRevision {
  /** `owner/name`, or an old `name` alone. */
  readonly repo: string;
  /** Model or data set. */
  readonly type: RepoType;
  /** Branch, tag or commit. */
  readonly revision: string;
}

/** A commit's hash. */
export const COMMIT_HASH = /^[0-9a-f]{40}$/;

/** The folder of a repository in the cache. */
export function repoFolder(cacheDir: string, { repo, type }: RepoRevision): string {
  if (!/^[\w.-]+(\/[\w.-]+)?$/.test(repo) || repo.includes("..")) {
    throw new HubError(
      "not found",
      `Cannot use ${JSON.stringify(repo)} as a Hub id: want owner/name`,
    );
  }
  return join(cacheDir, `${type}s--${repo.replaceAll("/", "--")}`);
}

/** The path of a file of a commit. */
export function snapshotPath(
  cacheDir: string,
  at: RepoRevision,
  commit: string,
  path: string,
): string {
  return join(repoFolder(cacheDir, at), "snapshots", commit, checkPath(path));
}

/**
 * A path within a repository, as it may be joined to a folder.
 *
 * @throws {HubError} if it would lead out of the folder
 */
export function checkPath(path: string): string {
  const parts = path.split("/");
  const bad = path === "" || path.includes("\\") || path.includes("\0") ||
    parts.some((part) => part === "" || part === "." || part === "..");
  if (bad) throw new HubError("refused", `Cannot use the file name ${JSON.stringify(path)}`);
  return path;
}

/** The commit of a revision when it was last requested; null if it never was. */
export async function cachedCommit(cacheDir: string, at: RepoRevision): Promise<string | null> {
  if (COMMIT_HASH.test(at.revision)) return at.revision;
  try {
    const ref = join(repoFolder(cacheDir, at), "refs", checkPath(at.revision));
    const commit = (await Deno.readTextFile(ref)).trim();
    return COMMIT_HASH.test(commit) ? commit : null;
  } catch (error) {
    if (error instanceof HubError) throw error;
    return null;
  }
}

/** Stores the commit of a revision. */
export async function storeCommit(
  cacheDir: string,
  at: RepoRevision,
  commit: string,
): Promise<void> {
  if (COMMIT_HASH.test(at.revision)) return;
  const ref = join(repoFolder(cacheDir, at), "refs", checkPath(at.revision));
  await Deno.mkdir(dirname(ref), { recursive: true });
  await Deno.writeTextFile(ref, commit);
}

/** A file of a commit, if the cache has it complete. */
export async function cachedFile(
  cacheDir: string,
  at: RepoRevision,
  commit: string,
  path: string,
): Promise<string | null> {
  const file = snapshotPath(cacheDir, at, commit, path);
  try {
    return (await Deno.stat(file)).isFile ? file : null;
  } catch {
    return null;
  }
}

/** The files that the cache has of a commit, relative to its snapshot. */
export async function cachedFiles(
  cacheDir: string,
  at: RepoRevision,
  commit: string,
): Promise<string[]> {
  const root = join(repoFolder(cacheDir, at), "snapshots", commit);
  const files: string[] = [];
  async function list(under: string): Promise<void> {
    for await (const entry of Deno.readDir(join(root, under))) {
      const path = under === "" ? entry.name : `${under}/${entry.name}`;
      if (entry.isDirectory) await list(path);
      else files.push(path);
    }
  }
  try {
    await list("");
  } catch {
    return [];
  }
  return files.sort();
}

/** Makes a snapshot's file lead to its blob: by a relative link, else (no links here) by a copy. */
export async function linkBlob(pointer: string, blob: string): Promise<void> {
  await Deno.mkdir(dirname(pointer), { recursive: true });
  await Deno.remove(pointer).catch(() => {});
  try {
    await Deno.symlink(relative(dirname(pointer), blob), pointer);
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) return;
    await Deno.copyFile(blob, pointer);
  }
}
