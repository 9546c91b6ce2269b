/**
 * JSON files of a model folder.
 *
 * @module
 */
import { explainWriteError, writeFileAtomically } from "./atomic_write.ts";

/**
 * Makes a folder and those above it.
 *
 * @throws {SaveError} where the disk is full, read-only or forbidden
 */
export async function makeFolder(path: string): Promise<void> {
  try {
    await Deno.mkdir(path, { recursive: true });
  } catch (error) {
    throw explainWriteError(error, path);
  }
}

/**
 * Writes a value as indented JSON, beside its place first.
 *
 * @throws {SaveError} where the disk is full, read-only or forbidden; what was there stays then
 */
export async function writeJsonFile(path: string, value: unknown): Promise<void> {
  const bytes = new TextEncoder().encode(JSON.stringify(value, null, 2) + "\n");
  await writeFileAtomically(path, async (file) => {
    for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
  });
}
