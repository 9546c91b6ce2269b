import { basename } from "node:path";
import { DataError } from "../data_error.ts";

/** Decompressed files, by the compressed file and its state; they go when the process ends. */
const decompressed = new Map<string, Promise<string>>();

/**
 * A gzip file, decompressed into a temporary file of the same name without `.gz`.
 *
 * @returns the path of the decompressed file
 * @throws {DataError} if it is not gzip, or cut, or there is no room
 */
export async function gunzipped(path: string): Promise<string> {
  const info = await Deno.stat(path).catch((error) => {
    throw new DataError(`Cannot read ${path}: ${error.message}`, { cause: error });
  });
  const key = `${path} ${info.size} ${info.mtime?.getTime()}`;
  let file = decompressed.get(key);
  if (file === undefined) {
    file = decompress(path);
    decompressed.set(key, file);
    file.catch(() => decompressed.delete(key));
  }
  return await file;
}

async function decompress(path: string): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "nanovlm-data-" });
  const remove = () => {
    try {
      Deno.removeSync(folder, { recursive: true });
    } catch {
      // It is gone already.
    }
  };
  globalThis.addEventListener("unload", remove);
  const target = `${folder}/${basename(path).replace(/\.gz$/i, "")}`;
  try {
    const source = await Deno.open(path, { read: true });
    const output = await Deno.open(target, { write: true, create: true });
    await source.readable.pipeThrough(new DecompressionStream("gzip")).pipeTo(output.writable);
    return target;
  } catch (error) {
    remove();
    const reason = error instanceof Error ? error.message : String(error);
    throw new DataError(`Cannot read ${path}: it is not a complete gzip file: ${reason}`, {
      cause: error,
    });
  }
}
