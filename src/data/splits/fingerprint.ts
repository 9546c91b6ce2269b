import { createHash } from "node:crypto";
import { basename } from "node:path";
import { fileSize, readFileRange } from "../sources/local_file.ts";

const CHUNK_BYTES = 1 << 20;
/** Files up to this are hashed whole; of larger ones 64 pieces and the size. */
const WHOLE_BYTES = 256 * 2 ** 20;
const PIECES = 64;

/**
 * A name for the contents of files and what is done with them: the same for the same data wherever
 * it lies, another when a row changes. For caches, and for a resume to see that the data is the same.
 *
 * @param paths the files, in order
 * @param options whatever else decides which examples come out
 * @returns SHA-256, 64 hexadecimal digits
 */
export async function fingerprintFiles(
  paths: readonly string[],
  options: Readonly<Record<string, unknown>>,
): Promise<string> {
  const hash = createHash("sha256");
  hash.update(JSON.stringify(options));
  for (const path of paths) {
    const size = await fileSize(path);
    hash.update(`\n${basename(path)} ${size}\n`);
    const step = size <= WHOLE_BYTES ? CHUNK_BYTES : Math.floor(size / PIECES);
    for (let start = 0; start < size; start += step) {
      hash.update(await readFileRange(path, start, Math.min(size, start + CHUNK_BYTES)));
    }
    if (size > WHOLE_BYTES) hash.update(await readFileRange(path, size - CHUNK_BYTES, size));
  }
  return hash.digest("hex");
}
