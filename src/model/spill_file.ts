/**
 * Numbers that do not fit in memory, in a temporary file that never outlives the process where the
 * system allows that.
 *
 * @module
 */

/** A file of float32 numbers that grows at its end. */
export class SpillFile {
  readonly #file: Deno.FsFile;
  /** null if the file has no name any more. */
  readonly #path: string | null;
  #end = 0;

  private constructor(file: Deno.FsFile, path: string | null) {
    this.#file = file;
    this.#path = path;
  }

  /**
   * Opens an empty file. On Linux and macOS it has no name from then on, so that the system frees it
   * even if the process is killed.
   *
   * @param folder the system's folder for temporary files by default
   * @returns null if no file can be made there
   */
  static create(folder?: string): SpillFile | null {
    let path: string | null = null;
    try {
      path = Deno.makeTempFileSync({ dir: folder, prefix: "nanovlm_features_" });
      const file = Deno.openSync(path, { read: true, write: true });
      if (Deno.build.os === "windows") return new SpillFile(file, path);
      Deno.removeSync(path);
      return new SpillFile(file, null);
    } catch {
      if (path !== null) removeQuietly(path);
      return null;
    }
  }

  /**
   * Writes numbers behind all others.
   *
   * @returns where they begin, bytes; null if they cannot be written, as on a full disk
   */
  append(values: Float32Array): number | null {
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    const offset = this.#end;
    try {
      this.#file.seekSync(offset, Deno.SeekMode.Start);
      for (let done = 0; done < bytes.length;) done += this.#file.writeSync(bytes.subarray(done));
    } catch {
      return null;
    }
    this.#end = offset + bytes.length;
    return offset;
  }

  /** `count` numbers from `offset` on; null if the file has fewer. */
  read(offset: number, count: number): Float32Array | null {
    const bytes = new Uint8Array(4 * count);
    this.#file.seekSync(offset, Deno.SeekMode.Start);
    for (let done = 0; done < bytes.length;) {
      const read = this.#file.readSync(bytes.subarray(done));
      if (read === null) return null;
      done += read;
    }
    return new Float32Array(bytes.buffer);
  }

  /** Closes and removes the file. */
  close(): void {
    this.#file.close();
    if (this.#path !== null) removeQuietly(this.#path);
  }
}

function removeQuietly(path: string): void {
  try {
    Deno.removeSync(path);
  } catch {
    // A file that is left behind in the folder for temporary files does no harm.
  }
}
