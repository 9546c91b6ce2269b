import { dirname, isAbsolute, relative, resolve } from "node:path";
import { DataError, RowSkipped } from "../data_error.ts";
import type { DataFolder } from "../rows/row.ts";

/**
 * The size of a file, in bytes.
 *
 * @throws {DataError} if it does not exist, is not a file, or may not be read
 */
export async function fileSize(path: string): Promise<number> {
  let info: Deno.FileInfo;
  try {
    info = await Deno.stat(path);
  } catch (error) {
    throw fileError(path, error);
  }
  if (!info.isFile) throw new DataError(`Cannot read ${path}: it is not a file`);
  return info.size;
}

/**
 * Bytes `start` up to `end` of a file; fewer if it ends before.
 *
 * @throws {DataError} if it cannot be read
 */
export async function readFileRange(
  path: string,
  start: number,
  end: number,
): Promise<Uint8Array<ArrayBuffer>> {
  try {
    using file = await Deno.open(path, { read: true });
    if (start > 0) await file.seek(start, Deno.SeekMode.Start);
    const bytes = new Uint8Array(Math.max(0, end - start));
    let filled = 0;
    while (filled < bytes.length) {
      const got = await file.read(bytes.subarray(filled));
      if (got === null) break;
      filled += got;
    }
    return filled === bytes.length ? bytes : bytes.slice(0, filled);
  } catch (error) {
    throw fileError(path, error);
  }
}

function fileError(path: string, error: unknown): DataError {
  if (error instanceof Deno.errors.NotFound) {
    return new DataError(`Cannot read ${path}: there is no such file`, { cause: error });
  }
  const reason = error instanceof Error ? error.message : String(error);
  return new DataError(`Cannot read ${path}: ${reason}`, { cause: error });
}

/** The largest picture that is read, in bytes. */
const MAX_PICTURE_BYTES = 256 * 2 ** 20;

/**
 * The bytes of a picture's file. A device or a pipe has no end, and may never answer.
 *
 * @param name how the row names it
 * @throws {RowSkipped} if it is not a regular file, or too large
 */
export async function readPicture(path: string, name: string): Promise<Uint8Array<ArrayBuffer>> {
  const { isFile, size } = await Deno.stat(path);
  if (!isFile) throw new RowSkipped(`image file ${name}: it is not a regular file`);
  if (size > MAX_PICTURE_BYTES) {
    throw new RowSkipped(`image file ${name}: it has ${size} bytes, over ${MAX_PICTURE_BYTES}`);
  }
  const bytes = await readFileRange(path, 0, size + 1);
  if (bytes.length !== size) {
    throw new RowSkipped(`image file ${name}: it changed while it was read`);
  }
  return bytes;
}

/** The files beside a local data file: relative paths start at its folder, absolute ones are taken. */
export function localFolder(dataFile: string): DataFolder {
  return folderAt(dirname(resolve(dataFile)));
}

/** The files of a folder: relative paths start at it, absolute ones are taken as they are. */
export function folderAt(root: string): DataFolder {
  const folder = resolve(root);
  return {
    async read(path: string, options: { belowOnly?: boolean } = {}): Promise<Uint8Array> {
      const full = isAbsolute(path) ? path : resolve(folder, path);
      try {
        const real = await Deno.realPath(full);
        const inside = relative(await Deno.realPath(folder), real);
        if (options.belowOnly && (isAbsolute(inside) || inside.split(/[\\/]/)[0] === "..")) {
          throw new RowSkipped(
            `image file ${path}: the preprocessing module named it, the row did not, and it is not ` +
              `below ${folder}`,
          );
        }
        return await readPicture(real, path);
      } catch (error) {
        if (error instanceof RowSkipped) throw error;
        const reason = error instanceof Deno.errors.NotFound
          ? "there is no such file"
          : error instanceof Error
          ? error.message
          : String(error);
        throw new RowSkipped(`image file ${path}: ${reason}`, "", { cause: error });
      }
    },
  };
}
