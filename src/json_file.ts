/**
 * Writes the JSON files of a model folder.
 *
 * @module
 */
import { explainWriteError, writeFileAtomically } from "./atomic_write.ts";

/**
 * Makes a folder and its parent folders.
 *
 * @throws {SaveError} if the disk is full, read-only or forbidden
 */
export async function makeFolder(path: string): Promise<void> {
  try {
    await Deno.mkdir(path, { recursive: true });
  } catch (error) {
    throw explainWriteError(error, path);
  }
}

/**
 * Writes a value as indented JSON, atomically.
 *
 * @throws {SaveError} if the disk is full, read-only or forbidden; the old file is unchanged then
 */
export async function writeJsonFile(path: string, value: unknown): Promise<void> {
  const bytes = new TextEncoder().encode(JSON.stringify(value, null, 2) + "\n");
  await writeFileAtomically(path, async (file) => {
    for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
  });
}
