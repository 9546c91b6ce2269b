import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import {
  cachedCommit,
  cachedFile,
  checkPath,
  COMMIT_HASH,
  linkBlob,
  repoFolder,
  type RepoRevision,
  snapshotPath,
  storeCommit,
} from "./hub_cache.ts";
import { type FileHead, HubClient } from "./hub_client.ts";
import { HubError } from "./hub_error.ts";
import { hubSettings } from "./hub_settings.ts";

/** How often an interrupted download is resumed. */
const RESUMES = 5;

/** Which file to get. */
export interface DownloadFileOptions {
  /** `owner/name`. */
  readonly repo: string;
  /** Model or data set; default model. */
  readonly type?: "model" | "dataset";
  /** The file in the repository. */
  readonly path: string;
  /** Branch, tag or commit; default `main`. */
  readonly revision?: string;
  /** The Hub to use; default: as the environment says. */
  readonly client?: HubClient;
  /** Called with the bytes so far and the total. */
  readonly onProgress?: (progress: DownloadProgress) => void;
}

/** Progress of a download. */
export interface DownloadProgress {
  /** The file in the repository. */
  readonly path: string;
  /** Bytes so far. */
  readonly bytes: number;
  /** Total bytes; null if not known. */
  readonly totalBytes: number | null;
}

/** The Hub that the environment names. */
export function defaultClient(): HubClient {
  return new HubClient(hubSettings());
}

/**
 * A file of the Hub, from the cache or else downloaded into it; an interrupted download continues
 * where it stopped.
 *
 * @returns the path of the file in the cache
 * @throws {HubError} if it is not there, may not be read, or cannot be reached
 */
export async function downloadFile(options: DownloadFileOptions): Promise<string> {
  const { repo, type = "model", revision = "main", onProgress } = options;
  const path = checkPath(options.path);
  const client = options.client ?? defaultClient();
  const { cacheDir, offline, endpoint } = client.settings;
  const at: RepoRevision = { repo, type, revision };
  const known = await cachedCommit(cacheDir, at);
  const held = known === null ? null : await cachedFile(cacheDir, at, known, path);
  if (held !== null && (offline || COMMIT_HASH.test(revision))) return held;
  if (offline) {
    throw new HubError(
      "offline",
      `Cannot fetch ${path} of the ${type} ${repo}: HF_HUB_OFFLINE is set, and ${cacheDir} ` +
        `does not have it; unset HF_HUB_OFFLINE once, or put a local folder in its place`,
    );
  }
  let head: FileHead;
  try {
    head = await client.head(at, path);
  } catch (error) {
    // Without network, use what was downloaded before.
    if (held !== null && error instanceof HubError && error.kind === "unreachable") {
      console.warn(`Cannot reach ${endpoint}: using ${path} of ${repo} as it is in the cache`);
      return held;
    }
    throw error;
  }
  await storeCommit(cacheDir, at, head.commit);
  const pointer = snapshotPath(cacheDir, at, head.commit, path);
  if (await cachedFile(cacheDir, at, head.commit, path) !== null) return pointer;
  const folder = repoFolder(cacheDir, at);
  const blob = join(folder, "blobs", head.etag);
  await withLock(
    join(cacheDir, ".locks", folder.slice(cacheDir.length + 1), `${head.etag}.lock`),
    async () => {
      if (!await isFile(blob)) await downloadBlob(client, head, blob, path, onProgress);
      await linkBlob(pointer, blob);
    },
  );
  return pointer;
}

async function downloadBlob(
  client: HubClient,
  head: FileHead,
  blob: string,
  path: string,
  onProgress: DownloadFileOptions["onProgress"],
): Promise<void> {
  await Deno.mkdir(dirname(blob), { recursive: true });
  const incomplete = `${blob}.incomplete`;
  for (let attempt = 0;; attempt++) {
    try {
      await append(client, head, incomplete, path, onProgress);
      break;
    } catch (error) {
      if (error instanceof HubError && error.kind !== "unreachable") throw error;
      if (error instanceof Deno.errors.NotCapable || isDiskError(error)) throw error;
      if (attempt >= RESUMES) {
        throw new HubError(
          "unreachable",
          `Cannot fetch ${path}: the connection broke ${attempt + 1} times (${
            error instanceof Error ? error.message : String(error)
          }); run it again, it goes on where it stopped`,
          { cause: error },
        );
      }
    }
  }
  const { size } = await Deno.stat(incomplete);
  if (head.size !== null && size !== head.size) {
    await Deno.remove(incomplete);
    throw new HubError(
      "damaged",
      `Cannot fetch ${path}: got ${size} bytes, want ${head.size}; run it again`,
    );
  }
  if (/^[0-9a-f]{64}$/.test(head.etag) && await sha256(incomplete) !== head.etag) {
    await Deno.remove(incomplete);
    throw new HubError(
      "damaged",
      `Cannot fetch ${path}: its bytes do not have the SHA-256 ${head.etag}; run it again`,
    );
  }
  await Deno.rename(incomplete, blob);
}

/** Downloads the missing part of an incomplete file. */
async function append(
  client: HubClient,
  head: FileHead,
  incomplete: string,
  path: string,
  onProgress: DownloadFileOptions["onProgress"],
): Promise<void> {
  using file = await Deno.open(incomplete, { create: true, write: true, append: true });
  let bytes = (await file.stat()).size;
  if (head.size !== null && bytes > head.size) {
    await file.truncate(0);
    bytes = 0;
  }
  if (bytes === head.size) return;
  const response = await client.fetch(head.url, {
    headers: {
      "accept-encoding": "identity",
      ...(bytes > 0 ? { range: `bytes=${bytes}-` } : {}),
    },
  });
  if (!response.ok || response.body === null) {
    await response.body?.cancel();
    if (response.status === 416) {
      await file.truncate(0);
      throw new Error("the Hub does not have the rest of the file");
    }
    throw new HubError("refused", `Cannot fetch ${path}: the Hub answered ${response.status}`);
  }
  if (bytes > 0 && response.status !== 206) {
    await file.truncate(0);
    bytes = 0;
  }
  for await (const chunk of response.body) {
    for (let written = 0; written < chunk.length;) {
      written += await file.write(chunk.subarray(written));
    }
    bytes += chunk.length;
    onProgress?.({ path, bytes, totalBytes: head.size });
  }
  if (head.size !== null && bytes < head.size) throw new Error(`it ended after ${bytes} bytes`);
}

function isDiskError(error: unknown): boolean {
  return error instanceof Deno.errors.PermissionDenied ||
    (error instanceof Error && "code" in error &&
      ["ENOSPC", "EROFS", "EDQUOT", "EACCES"].includes(String(error.code)));
}

async function sha256(path: string): Promise<string> {
  const hash = createHash("sha256");
  using file = await Deno.open(path, { read: true });
  const chunk = new Uint8Array(1 << 20);
  for (;;) {
    const got = await file.read(chunk);
    if (got === null) break;
    hash.update(chunk.subarray(0, got));
  }
  return hash.digest("hex");
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isFile;
  } catch {
    return false;
  }
}

/** Two processes that want the same file do not write it at once; Python's use the same locks. */
async function withLock(lockFile: string, run: () => Promise<void>): Promise<void> {
  await Deno.mkdir(dirname(lockFile), { recursive: true });
  using file = await Deno.open(lockFile, { create: true, write: true });
  await file.lock(true);
  try {
    await run();
  } finally {
    await file.unlock();
  }
}
