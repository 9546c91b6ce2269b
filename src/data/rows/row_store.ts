import { deserialize, serialize } from "node:v8";
import { readFileRange } from "../sources/local_file.ts";
import type { PlacedRow, Row } from "./row.ts";
import type { RowSource } from "../sources/row_source.ts";

/** Rows up to this many bytes stay in memory; beyond, they go to a file. */
const MEMORY_BYTES = 256 * 2 ** 20;

/**
 * Keeps rows that were made once, such as the results of preprocessing, to be read at random: in
 * memory while they are few, else in a temporary file that goes when the process ends.
 */
export class RowStore {
  readonly #memoryBytes: number;
  readonly #places: Omit<PlacedRow, "row">[] = [];
  readonly #ends: number[] = [];
  readonly #columns = new Set<string>();
  #memory: Uint8Array[] = [];
  #bytes = 0;
  #path: string | null = null;
  #file: Deno.FsFile | null = null;

  /** @param memoryBytes how much may stay in memory */
  constructor(memoryBytes = MEMORY_BYTES) {
    this.#memoryBytes = memoryBytes;
  }

  /** Adds a row at the end. */
  async append(placed: PlacedRow): Promise<void> {
    for (const name of Object.keys(placed.row)) this.#columns.add(name);
    const bytes = new Uint8Array(serialize(placed.row));
    this.#bytes += bytes.length;
    this.#ends.push(this.#bytes);
    this.#places.push({ place: placed.place, folder: placed.folder });
    if (this.#file !== null) return await writeAll(this.#file, bytes);
    this.#memory.push(bytes);
    if (this.#bytes <= this.#memoryBytes) return;
    this.#path = await Deno.makeTempFile({ prefix: "nanovlm-rows-" });
    const path = this.#path;
    globalThis.addEventListener("unload", () => {
      try {
        Deno.removeSync(path);
      } catch {
        // It is gone already.
      }
    });
    this.#file = await Deno.open(path, { write: true });
    for (const row of this.#memory) await writeAll(this.#file, row);
    this.#memory = [];
  }

  /**
   * The rows, once all are there.
   *
   * @param name for messages
   */
  finish(name: string): RowSource {
    this.#file?.close();
    this.#file = null;
    const total = this.#ends.length;
    const get = async (index: number): Promise<PlacedRow> => {
      if (!(index >= 0 && index < total)) {
        throw new RangeError(`Cannot read row ${index} of ${name}: it has ${total} rows`);
      }
      const start = index === 0 ? 0 : this.#ends[index - 1];
      const bytes = this.#path === null
        ? this.#memory[index]
        : await readFileRange(this.#path, start, this.#ends[index]);
      return { row: deserialize(bytes) as Row, ...this.#places[index] };
    };
    return {
      name,
      columns: [...this.#columns],
      countRows: () => Promise.resolve(total),
      get,
      async *rows(start, end) {
        for (let i = start; i < Math.min(end, total); i++) yield await get(i);
      },
    };
  }
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let written = 0; written < bytes.length;) {
    written += await file.write(bytes.subarray(written));
  }
}
