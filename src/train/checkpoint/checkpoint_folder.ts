/**
 * `checkpoint-N/` folders of a run: written whole, listed, checked, rotated.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { recoverFolders, SaveError, writeFolderAtomically } from "../../atomic_write.ts";

/** Lists a checkpoint's files with size and SHA-256, so that a torn write is noticed. */
const MANIFEST = "checkpoint_manifest.json";
const TRASH = ".trash-";
const PROBE = ".writable-";

/** A checkpoint on disk. */
export interface Checkpoint {
  /** Its folder. */
  path: string;
  /** Optimizer steps that had been done. */
  step: number;
}

interface FileRecord {
  bytes: number;
  sha256: string;
}

async function sha256(path: string): Promise<string> {
  const hash = createHash("sha256");
  using file = await Deno.open(path, { read: true });
  const chunk = new Uint8Array(1 << 20);
  for (;;) {
    const count = await file.read(chunk);
    if (count === null) return hash.digest("hex");
    hash.update(chunk.subarray(0, count));
  }
}

/** Paths of all files below a folder, relative to it, sorted. */
async function filesBelow(folder: string, prefix = ""): Promise<string[]> {
  const files: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    if (isDirectory) files.push(...await filesBelow(`${folder}/${name}`, `${prefix}${name}/`));
    else files.push(`${prefix}${name}`);
  }
  return files.sort();
}

/**
 * Writes `checkpoint-STEP`: whole or not at all, whatever ends the process.
 *
 * @param write fills the temporary folder whose path it gets
 * @returns the checkpoint's folder
 * @throws {SaveError} if the disk is full, read-only or forbidden
 */
export async function writeCheckpoint(
  outputDir: string,
  step: number,
  write: (temporaryFolder: string) => void | Promise<void>,
): Promise<string> {
  const target = `${outputDir}/checkpoint-${step}`;
  await writeFolderAtomically(target, async (temporary) => {
    await write(temporary);
    const files: Record<string, FileRecord> = {};
    for (const name of await filesBelow(temporary)) {
      const { size } = await Deno.stat(`${temporary}/${name}`);
      files[name] = { bytes: size, sha256: await sha256(`${temporary}/${name}`) };
    }
    await Deno.writeTextFile(
      `${temporary}/${MANIFEST}`,
      JSON.stringify({ step, files }, null, 2) + "\n",
    );
  });
  return target;
}

function isRecord(value: unknown): value is FileRecord {
  return typeof value === "object" && value !== null &&
    "bytes" in value && typeof value.bytes === "number" &&
    "sha256" in value && typeof value.sha256 === "string";
}

function parseManifest(text: string): Map<string, FileRecord> | null {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null || !("files" in value)) return null;
    if (typeof value.files !== "object" || value.files === null) return null;
    const files = new Map<string, FileRecord>();
    for (const [name, record] of Object.entries<unknown>({ ...value.files })) {
      if (!isRecord(record)) return null;
      files.set(name, record);
    }
    return files;
  } catch {
    return null;
  }
}

/**
 * What is wrong with a checkpoint, or null if it is whole. One without a manifest (Python's) is not
 * checked.
 *
 * @param contents false looks at sizes alone
 */
export async function checkpointProblem(path: string, contents = true): Promise<string | null> {
  let text: string;
  try {
    text = await Deno.readTextFile(`${path}/${MANIFEST}`);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    const hasState = await Deno.stat(`${path}/trainer_state.json`).then(() => true, () => false);
    return hasState ? null : `it has neither ${MANIFEST} nor trainer_state.json`;
  }
  const files = parseManifest(text);
  if (files === null) return `its ${MANIFEST} is damaged`;
  for (const [name, { bytes, sha256: wanted }] of files) {
    let size: number;
    try {
      size = (await Deno.stat(`${path}/${name}`)).size;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
      return `${name} is missing`;
    }
    if (size !== bytes) return `${name} has ${size} bytes, ${bytes} were written`;
    if (contents && await sha256(`${path}/${name}`) !== wanted) {
      return `the contents of ${name} are not those that were written`;
    }
  }
  return null;
}

/**
 * The checkpoints of a run that are complete by their sizes, oldest first.
 *
 * @param onProblem gets a line for each folder that is left out
 */
export async function listCheckpoints(
  outputDir: string,
  onProblem: (text: string) => void = () => {},
): Promise<Checkpoint[]> {
  const checkpoints: Checkpoint[] = [];
  let entries: Deno.DirEntry[];
  try {
    entries = await Array.fromAsync(Deno.readDir(outputDir));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
  for (const { name, isDirectory } of entries) {
    const match = /^checkpoint-(\d+)$/.exec(name);
    if (!isDirectory || match === null) continue;
    const path = `${outputDir}/${name}`;
    const problem = await checkpointProblem(path, false);
    if (problem === null) checkpoints.push({ path, step: Number(match[1]) });
    else onProblem(`${path} is left out: ${problem}`);
  }
  return checkpoints.sort((a, b) => a.step - b.step);
}

/**
 * The newest checkpoint whose contents are those that were written, or null.
 *
 * @param onProblem gets a line for each folder that is left out
 * @param refusal why a checkpoint is not wanted; null: it is; default: all are
 */
export async function newestCheckpoint(
  outputDir: string,
  onProblem: (text: string) => void = () => {},
  refusal: (path: string) => Promise<string | null> = () => Promise.resolve(null),
): Promise<Checkpoint | null> {
  for (const checkpoint of (await listCheckpoints(outputDir, onProblem)).reverse()) {
    const problem = await checkpointProblem(checkpoint.path) ?? await refusal(checkpoint.path);
    if (problem === null) return checkpoint;
    onProblem(`${checkpoint.path} is left out: ${problem}`);
  }
  return null;
}

async function removeTrash(outputDir: string): Promise<void> {
  for await (const { name } of Deno.readDir(outputDir)) {
    if (!name.startsWith(TRASH) && !name.startsWith(PROBE)) continue;
    await Deno.remove(`${outputDir}/${name}`, { recursive: true });
  }
}

/**
 * Removes the oldest checkpoints above a limit, but never the best or the last one: with limit 1
 * both stay if they differ, as in Transformers. A folder is renamed before it is removed, so
 * that half of one is never found.
 *
 * @param limit `save_total_limit`; null or 0 keeps all
 * @param best path of the best checkpoint, if one is known
 * @returns paths of those removed
 */
export async function rotateCheckpoints(
  outputDir: string,
  limit: number | null,
  best: string | null = null,
): Promise<string[]> {
  if (limit === null || limit <= 0) return [];
  const checkpoints = await listCheckpoints(outputDir);
  const last = checkpoints.at(-1);
  const name = (path: string): string => path.replace(/[/\\]+$/, "").split(/[/\\]/).at(-1) ?? path;
  const kept = new Set([last && name(last.path), best && name(best)]);
  const spare = checkpoints.filter(({ path }) => !kept.has(name(path)));
  const removed: string[] = [];
  for (const { path } of spare.slice(0, Math.max(0, checkpoints.length - limit))) {
    const trash = `${outputDir}/${TRASH}${name(path)}-${crypto.randomUUID().slice(0, 8)}`;
    await Deno.rename(path, trash);
    await Deno.remove(trash, { recursive: true });
    removed.push(path);
  }
  return removed;
}

/**
 * What a run does once when it starts on its output folder: makes it, checks that it can be written,
 * and removes what an interrupted run left half-written or half-removed.
 *
 * @throws {SaveError} if the folder cannot be made or written
 */
export async function prepareOutputFolder(outputDir: string): Promise<void> {
  const probe = `${outputDir}/${PROBE}${crypto.randomUUID().slice(0, 8)}`;
  // A write of its own, so that a full, read-only or forbidden folder is reported before training.
  await writeFolderAtomically(probe, (folder) => Deno.writeTextFile(`${folder}/probe`, "1"));
  await recoverFolders(outputDir);
  await removeTrash(outputDir);
}

export { SaveError };
