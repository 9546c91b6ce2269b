/**
 * A user's preprocessing module: its exported functions, in the order of their definition,
 * in the same sandbox as reward functions.
 *
 * @module
 */
import { SandboxCallError, SandboxedFunctions } from "../../rewards/sandboxed_functions.ts";
import type { SandboxGrants } from "../../rewards/types.ts";
import { DataError } from "../data_error.ts";
import { toColumns } from "../sources/mapped_source.ts";
import {
  type Cell,
  describeCell,
  isList,
  isStruct,
  type PlacedRow,
  type Row,
} from "../rows/row.ts";
import { TRANSFORM_BATCH_ROWS } from "../rows/row_transform.ts";
import { ModuleRowFolder } from "./module_row_folder.ts";
import { BUILTIN_PREFIX, BUILTIN_PREPROCESSING } from "./builtin_transforms.ts";

/** Functions with this prefix get columns of many rows and may return another number of rows. */
const BATCH_PREFIX = "batch_";
/** A batch is cut short above so many bytes of pictures. */
const BATCH_BYTES = 64 * 2 ** 20;
/** Rows that a module may make of one row, and further ones for a small data set. */
const ROWS_PER_ROW = 64, MORE_ROWS = 1000;
/** A batch of 1,000 rows is more work than a batch of completions. */
const DEFAULT_GRANTS: SandboxGrants = { timeoutMs: 60_000, memoryMb: 1024 };

/** The permissions of a preprocessing module, and its folder. */
export interface PreprocessingOptions {
  /** What it may do beyond computing; default: nothing, 60 s a call, 1 GB. */
  readonly grants?: SandboxGrants;
  /** Folder against which a relative path is taken; default: the working directory. */
  readonly base?: string;
  /** Receives what the module prints and what it was refused; default: stderr. */
  readonly log?: (line: string) => void;
}

/** A started module; close it at the end. */
export class PreprocessingModule implements AsyncDisposable {
  /** The name in the config. */
  readonly specifier: string;
  /** SHA-256 over the module's whole graph. */
  readonly integrity: string;
  readonly #functions: SandboxedFunctions;

  private constructor(specifier: string, functions: SandboxedFunctions) {
    this.specifier = specifier;
    this.integrity = functions.integrity;
    this.#functions = functions;
  }

  /**
   * Starts a module in its sandbox.
   *
   * @param specifier path, or `https:`, `jsr:`, `npm:` specifier
   * @throws {DataError} if it is refused, broken, exports no function, or is Python
   */
  static async start(
    specifier: string,
    options: PreprocessingOptions = {},
  ): Promise<PreprocessingModule> {
    if (specifier.endsWith(".py")) throw pythonError(specifier);
    let functions: SandboxedFunctions;
    try {
      const grants = { ...DEFAULT_GRANTS, ...options.grants };
      functions = await held(SandboxedFunctions.start(specifier, grants, options));
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new DataError(
        `Cannot load preprocessing_fn ${specifier}: ${
          reason.replace(/^Cannot load reward module [^:]*(?::[^ ][^:]*)*: /, "")
        }`,
        { cause: error },
      );
    }
    if (functions.names.length === 0) {
      await held(functions.close());
      throw new DataError(
        `Cannot preprocess with ${specifier}: it exports no function; want functions from row to row`,
      );
    }
    return new PreprocessingModule(specifier, functions);
  }

  /** The functions' names, in the order in which they are applied. */
  get names(): readonly string[] {
    return this.#functions.names;
  }

  /**
   * Applies all functions to rows, a batch at a time.
   *
   * @throws {DataError} if a function fails or does not return a row
   */
  async *apply(rows: AsyncIterable<PlacedRow>): AsyncGenerator<PlacedRow> {
    let rowsIn = 0, rowsOut = 0;
    for await (const batch of batches(rows)) {
      const made = await this.#applyFrom(
        0,
        batch.map((placed) => ({ ...placed, folder: ModuleRowFolder.of(placed) })),
      );
      rowsIn += batch.length;
      rowsOut += made.length;
      this.#refuseGrowth(batch[0].place, rowsIn, rowsOut);
      yield* made;
    }
  }

  /** A module cannot fill the trainer with rows. */
  #refuseGrowth(place: string, rowsIn: number, rowsOut: number): void {
    const most = MORE_ROWS + ROWS_PER_ROW * rowsIn;
    if (rowsOut <= most) return;
    throw new DataError(
      `Cannot preprocess ${place}: ${this.specifier} made ${rowsOut} rows of ${rowsIn}: want ${most} at most`,
    );
  }

  async #applyFrom(first: number, batch: PlacedRow[]): Promise<PlacedRow[]> {
    let rows = batch;
    for (let i = first; i < this.names.length; i++) {
      // A batch_ function may have returned more rows than one batch of the next function.
      if (rows.length > TRANSFORM_BATCH_ROWS) {
        const parts: PlacedRow[] = [];
        for (let start = 0; start < rows.length; start += TRANSFORM_BATCH_ROWS) {
          const part = rows.slice(start, start + TRANSFORM_BATCH_ROWS);
          for (const row of await this.#applyFrom(i, part)) parts.push(row);
        }
        return parts;
      }
      const name = this.names[i];
      if (rows.length === 0) return rows;
      rows = name.startsWith(BATCH_PREFIX)
        ? await this.#callBatch(name, rows)
        : await this.#callRows(name, rows);
    }
    return rows;
  }

  async #callRows(name: string, rows: readonly PlacedRow[]): Promise<PlacedRow[]> {
    const results: PlacedRow[] = [];
    for (const placed of rows) {
      const result = await this.#call(name, placed.row, placed.place);
      if (result === null || result === undefined) results.push(placed);
      else if (isStruct(result)) results.push({ ...placed, row: { ...placed.row, ...result } });
      else {
        throw new DataError(
          `Cannot preprocess ${placed.place}: ${name} of ${this.specifier} gave ${
            describeCell(result)
          }, want the row, or an object of the columns that change`,
        );
      }
    }
    return results;
  }

  async #callBatch(name: string, rows: readonly PlacedRow[]): Promise<PlacedRow[]> {
    const place = `${rows[0].place} and the ${rows.length - 1} rows after it`;
    const columns = toColumns(rows.map((placed) => placed.row));
    const result = await this.#call(name, columns, place);
    if (result === null || result === undefined) return [...rows];
    const wrong = (what: string) =>
      new DataError(
        `Cannot preprocess ${place}: ${name} of ${this.specifier} gave ${what}, want an object ` +
          `of columns, lists of one length`,
      );
    if (!isStruct(result)) throw wrong(describeCell(result));
    const lists: [string, readonly Cell[]][] = [];
    for (const [column, list] of Object.entries(result)) {
      if (!isList(list)) throw wrong(`${describeCell(list)} in ${column}`);
      lists.push([column, list]);
    }
    const lengths = new Set(lists.map(([, list]) => list.length));
    if (lengths.size > 1) throw wrong(`lists of ${[...lengths].join(" and ")} rows`);
    const count = lists[0]?.[1].length ?? 0;
    this.#refuseGrowth(place, rows.length, count);
    const same = count === rows.length;
    const folder = same ? null : ModuleRowFolder.ofAll(rows);
    return Array.from({ length: count }, (_, i): PlacedRow => {
      const row: Row = Object.fromEntries(lists.map(([column, list]) => [column, list[i]]));
      if (same) return { ...rows[i], row: { ...rows[i].row, ...row } };
      return { row, place: `${rows[0].place}, ${name} row ${i}`, folder: folder! };
    });
  }

  async #call(name: string, argument: Cell, place: string): Promise<Cell | undefined> {
    try {
      // The channel passes plain data only.
      return await this.#functions.call(name, [argument]) as Cell | undefined;
    } catch (error) {
      if (!(error instanceof SandboxCallError)) throw error;
      const refused = error.refused.length === 0 ? "" : ` (${error.refused.join("; ")})`;
      throw new DataError(`Cannot preprocess ${place}: ${error.message}${refused}`, {
        cause: error,
      });
    }
  }

  /** Ends its process. */
  async close(): Promise<void> {
    await held(this.#functions.close());
  }

  /** As `close`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Keeps the event loop alive while waiting: sandbox processes do not hold it themselves. */
async function held<T>(promise: Promise<T>): Promise<T> {
  const timer = setInterval(() => {}, 1000);
  try {
    return await promise;
  } finally {
    clearInterval(timer);
  }
}

async function* batches(rows: AsyncIterable<PlacedRow>): AsyncGenerator<PlacedRow[]> {
  let batch: PlacedRow[] = [];
  let bytes = 0;
  for await (const placed of rows) {
    batch.push(placed);
    bytes += cellBytes(placed.row);
    if (batch.length < TRANSFORM_BATCH_ROWS && bytes < BATCH_BYTES) continue;
    yield batch;
    batch = [];
    bytes = 0;
  }
  if (batch.length > 0) yield batch;
}

function cellBytes(cell: Cell): number {
  if (cell instanceof Uint8Array) return cell.length;
  if (typeof cell === "string") return cell.length;
  if (isList(cell)) return cell.reduce((sum: number, item) => sum + cellBytes(item), 0);
  if (isStruct(cell)) return cellBytes(Object.values(cell));
  return 8;
}

function pythonError(path: string): DataError {
  const stem = path.split("/").at(-1)?.replace(/\.py$/, "") ?? "";
  const builtin = BUILTIN_PREPROCESSING.find((name) => name === BUILTIN_PREFIX + stem);
  const instead = builtin ?? `${path.replace(/\.py$/, "")}.ts`;
  return new DataError(
    `Cannot preprocess with ${path}: it is Python, and modules are TypeScript here; ${
      builtin === undefined ? "write it again as" : "its replacement is"
    } ${instead}: --set dataset.preprocessing_fn=${instead}`,
  );
}
