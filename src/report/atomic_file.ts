import { RunFileError } from "./run_file_error.ts";

/**
 * Writes a whole file or nothing: aside, synced, then renamed over the old one, so that a reader
 * (or a kill, or a full disk) never meets half of it.
 *
 * @param path the file; its folder must exist
 * @param contents text or bytes
 * @param what what the file is, for the error message
 * @throws {RunFileError} where it cannot be written; an older file of that name is then untouched
 */
export function writeFileAtomically(
  path: string,
  contents: string | Uint8Array,
  what = "a file",
): void {
  const aside = `${path}.writing-${Deno.pid}`;
  const bytes = typeof contents === "string" ? new TextEncoder().encode(contents) : contents;
  try {
    const file = Deno.openSync(aside, { write: true, create: true, truncate: true });
    try {
      for (let done = 0; done < bytes.length;) done += file.writeSync(bytes.subarray(done));
      file.syncSync();
    } finally {
      file.close();
    }
    Deno.renameSync(aside, path);
  } catch (error) {
    try {
      Deno.removeSync(aside);
    } catch {
      // It was never made, or its folder is gone: what matters is the first error.
    }
    throw new RunFileError(`write ${what} to`, path, error);
  }
}
