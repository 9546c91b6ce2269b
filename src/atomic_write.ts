/**
 * Writes files and folders atomically: under a temporary name beside the target, then synced and
 * renamed. If the process is killed, a reader sees the old state or the new one, nothing between.
 *
 * @module
 */

/** A file or folder that could not be saved; the message says why and what remains. */
export class SaveError extends Error {
  override name = "SaveError";
}

const REASONS: Readonly<Record<string, string>> = {
  ENOSPC: "no space is left on its disk; free some, or choose another folder",
  EDQUOT: "the disk quota is used up; free some space, or choose another folder",
  EROFS: "its file system is read-only; choose another folder",
  EACCES: "this user may not write there; change its permissions, or choose another folder",
  EPERM: "this user may not write there; change its permissions, or choose another folder",
  ENOTDIR: "a part of its path is a file, not a folder; choose another folder",
  EEXIST: "a part of its path is a file, not a folder; choose another folder",
  EIO: "its disk reports an error (EIO)",
};

/**
 * Explains an error of the operating system in a {@linkcode SaveError}; other errors are returned
 * unchanged.
 *
 * @param path the file or folder that was to be saved
 */
export function explainWriteError(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || error instanceof SaveError) return error;
  if (error instanceof Deno.errors.NotCapable) {
    return new SaveError(
      `Cannot save ${path}: Deno was started without the permission; add --allow-write=${path} ` +
        `(${error.message})`,
      { cause: error },
    );
  }
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  if (code === "") return error;
  const reason = REASONS[code] ?? error.message;
  return new SaveError(`Cannot save ${path}: ${reason}. Nothing half-written is left there`, {
    cause: error,
  });
}

/** Splits a path into its folder and its last part. */
function splitPath(path: string): { parent: string; name: string } {
  const trimmed = path.length > 1 ? path.replace(/[/\\]+$/, "") : path;
  const at = Math.max(trimmed.lastIndexOf("/"), trimmed.lastIndexOf("\\"));
  if (at < 0) return { parent: ".", name: trimmed };
  return { parent: at === 0 ? "/" : trimmed.slice(0, at), name: trimmed.slice(at + 1) };
}

/** Flushes a file or folder to the disk, so that it survives a power cut. */
async function syncPath(path: string): Promise<void> {
  let file: Deno.FsFile;
  try {
    file = await Deno.open(path, { read: true });
  } catch (error) {
    // Windows opens no folders; its renames are journalled.
    if (Deno.build.os === "windows") return;
    throw error;
  }
  try {
    await file.sync();
  } finally {
    file.close();
  }
}

/** Syncs every file and folder below a folder, then the folder itself. */
async function syncTree(folder: string): Promise<void> {
  for await (const entry of Deno.readDir(folder)) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) await syncTree(path);
    else if (entry.isFile) await syncPath(path);
  }
  await syncPath(folder);
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.lstat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

async function removeQuietly(path: string): Promise<void> {
  try {
    await Deno.remove(path, { recursive: true });
  } catch {
    // The next start removes it.
  }
}

/**
 * Writes a file under a temporary name beside its target, syncs it and renames it.
 *
 * @param path the target
 * @param write gets the open temporary file
 * @throws {SaveError} if the disk is full, read-only or forbidden; no temporary file is left
 */
export async function writeFileAtomically(
  path: string,
  write: (file: Deno.FsFile) => void | Promise<void>,
): Promise<void> {
  const { parent, name } = splitPath(path);
  const temporary = `${parent}/.${name}.tmp-${crypto.randomUUID().slice(0, 8)}`;
  try {
    const file = await Deno.open(temporary, { write: true, createNew: true });
    try {
      await write(file);
      await file.sync();
    } finally {
      file.close();
    }
    await Deno.rename(temporary, path);
    await syncPath(parent);
  } catch (error) {
    await removeQuietly(temporary);
    throw explainWriteError(error, path);
  }
}

/**
 * Writes a text file under a temporary name beside its target, syncs it and renames it.
 *
 * @throws {SaveError} if the disk is full, read-only or forbidden; no temporary file is left
 */
export async function writeTextAtomically(path: string, text: string): Promise<void> {
  const bytes = new TextEncoder().encode(text);
  await writeFileAtomically(path, (file) => {
    for (let done = 0; done < bytes.length;) done += file.writeSync(bytes.subarray(done));
  });
}

/** Options of {@linkcode writeFolderAtomically}. */
export interface WriteFolderOptions {
  /**
   * What to do if the target exists. `replace` (the default) removes the old folder. `update` keeps
   * files that the new folder does not have; if there are such files, the new files are renamed
   * over the old ones one by one.
   */
  existing?: "replace" | "update";
  /** Under `update`: the file to rename last, because readers look for it first. */
  last?: string;
}

/**
 * Removes the temporary folders that interrupted writes of `target` left beside it. If a write was
 * interrupted between its two renames, the old folder is restored.
 *
 * @param target the folder that was being written
 */
export async function recoverFolder(target: string): Promise<void> {
  const { parent, name } = splitPath(target);
  if (!await exists(parent)) return;
  for await (const entry of Deno.readDir(parent)) {
    const path = `${parent}/${entry.name}`;
    if (entry.name.startsWith(`.${name}.old-`)) {
      if (await exists(target)) await removeQuietly(path);
      else await Deno.rename(path, target);
    } else if (entry.name.startsWith(`.${name}.tmp-`)) await removeQuietly(path);
  }
}

/**
 * {@linkcode recoverFolder} for every folder that was being written in `parent`. A run calls it once,
 * when it opens its output folder.
 */
export async function recoverFolders(parent: string): Promise<void> {
  if (!await exists(parent)) return;
  const names = new Set<string>();
  for await (const entry of Deno.readDir(parent)) {
    const match = /^\.(.+)\.(?:tmp|old)-[0-9a-f]{8}$/.exec(entry.name);
    if (match !== null) names.add(match[1]);
  }
  for (const name of names) await recoverFolder(`${parent}/${name}`);
}

/**
 * Writes a folder under a temporary name beside its target, syncs every file and renames it.
 *
 * @param target the target; its parent folders are made
 * @param write fills the empty temporary folder, whose path it gets
 * @throws {SaveError} if the disk is full, read-only or forbidden; the old folder is unchanged then
 */
export async function writeFolderAtomically(
  target: string,
  write: (temporaryFolder: string) => void | Promise<void>,
  options: WriteFolderOptions = {},
): Promise<void> {
  const { parent, name } = splitPath(target);
  const id = crypto.randomUUID().slice(0, 8);
  const temporary = `${parent}/.${name}.tmp-${id}`;
  const aside = `${parent}/.${name}.old-${id}`;
  let isAside = false;
  try {
    await Deno.mkdir(parent, { recursive: true });
    await recoverFolder(target);
    await Deno.mkdir(temporary);
    await write(temporary);
    await syncTree(temporary);
    if (!await exists(target)) {
      await Deno.rename(temporary, target);
    } else if (options.existing === "update" && await hasOtherFiles(target, temporary)) {
      await moveFilesInto(temporary, target, options.last);
      await syncPath(target);
    } else {
      await Deno.rename(target, aside);
      isAside = true;
      await Deno.rename(temporary, target);
      await syncPath(parent);
      await removeQuietly(aside);
    }
    await syncPath(parent);
  } catch (error) {
    await removeQuietly(temporary);
    if (isAside && !await exists(target)) await Deno.rename(aside, target);
    // The error of an inner file names the temporary folder; name the target.
    throw explainWriteError(error instanceof SaveError ? error.cause : error, target);
  }
}

/** The folder that a temporary folder of {@linkcode writeFolderAtomically} becomes. */
export function folderOf(temporaryFolder: string): string {
  return temporaryFolder.replace(
    /([^/\\]*)$/,
    (name) => /^\.(.+)\.tmp-[0-9a-f]{8}$/.exec(name)?.[1] ?? name,
  );
}

/** Whether `target` has a file that `replacement` does not have. */
async function hasOtherFiles(target: string, replacement: string): Promise<boolean> {
  for await (const entry of Deno.readDir(target)) {
    if (!await exists(`${replacement}/${entry.name}`)) return true;
  }
  return false;
}

async function moveFilesInto(from: string, to: string, last?: string): Promise<void> {
  const names: string[] = [];
  for await (const entry of Deno.readDir(from)) names.push(entry.name);
  names.sort((a, b) => Number(a === last) - Number(b === last) || (a < b ? -1 : 1));
  for (const name of names) await Deno.rename(`${from}/${name}`, `${to}/${name}`);
  await removeQuietly(from);
}
