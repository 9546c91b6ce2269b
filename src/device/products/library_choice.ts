/**
 * Which library multiplies by which weight: measured when a shape first occurs, once on a machine, and
 * kept in a file, so that every later run on it makes the same choice and gets the same bits.
 *
 * A choice depends on the dims of the weight and not on the number of rows (tokens), so that the bits of
 * a row do not depend on the rows beside it. There are two choices for each weight: eight rows or fewer,
 * as decoding has them, are another problem than many.
 * @module
 */
import { cpus } from "node:os";
import { environment } from "../thread_count.ts";
import type { GemmLibrary, Sgemm } from "./gemm_library.ts";

/** The shape of a product C [m, n] of op(A) [m, k] and op(B) [k, n]. */
export interface ProductShape {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly transposeA: boolean;
  readonly transposeB: boolean;
}

/** Half octaves: products of similar sizes share a choice. */
const bucket = (size: number): number => Math.round(2 * Math.log2(Math.max(1, size)));

/** Rows (tokens) of a measured product: few, as decoding has them, or many. */
const FEW_ROWS = 8;
const MANY_ROWS = 256;

/** The product that is measured for a shape. The rows are m; of a weight's gradient they are k. */
function measuredShape(shape: ProductShape): ProductShape {
  const dim = shape.transposeA ? "k" : "m";
  return { ...shape, [dim]: shape[dim] <= FEW_ROWS ? FEW_ROWS : MANY_ROWS };
}

/** The name of a shape in the file. */
export function shapeKey(shape: ProductShape): string {
  const { m, n, k, transposeA, transposeB } = measuredShape(shape);
  const kind = `${transposeA ? "t" : "n"}${transposeB ? "t" : "n"}`;
  return `${kind} ${bucket(m)} ${bucket(n)} ${bucket(k)}`;
}

/** Rounds of a measurement, and milliseconds after which no further round begins. */
const ROUNDS = 5;
const MOST_MS = 60;
/** Least milliseconds of a timed stretch: some clocks are coarse. */
const STRETCH_MS = 0.2;
/** Floats of an operand, at most: beyond, fewer columns are measured. */
const MOST_FLOATS = 2 ** 22;
/** Another library than the default must be faster by this factor: what differs less is noise. */
const MARGIN = 0.93;

/** The index of the fastest; the first one unless another is clearly faster. */
export function fastestOf(milliseconds: readonly number[]): number {
  const best = milliseconds.indexOf(Math.min(...milliseconds));
  return milliseconds[best] < MARGIN * milliseconds[0] ? best : 0;
}

/** The fastest milliseconds of each library for one product of that shape. */
export function measure(shape: ProductShape, libraries: readonly Sgemm[]): number[] {
  const { transposeA, transposeB, ...dims } = measuredShape(shape);
  const k = Math.min(dims.k, 2 ** 14), m = Math.min(dims.m, Math.floor(MOST_FLOATS / k));
  const n = Math.min(dims.n, Math.floor(MOST_FLOATS / Math.max(m, k)));
  const [a, b, c] = [m * k, k * n, m * n].map((size) => new Float32Array(size).fill(1 / 3));
  const at = (values: Float32Array<ArrayBuffer>): bigint =>
    Deno.UnsafePointer.value(Deno.UnsafePointer.of(values));
  const product = {
    ...{ transposeA, transposeB, m, n, k, beta: 0, a: at(a), b: at(b), c: at(c), ldc: n },
    ...{ lda: transposeA ? m : k, ldb: transposeB ? k : n },
  };
  const timeOf = (sgemm: Sgemm, repeats: number): number => {
    const start = performance.now();
    for (let i = 0; i < repeats; i++) sgemm(product);
    return performance.now() - start;
  };
  const repeats = libraries.map((sgemm) => {
    sgemm(product); // The first call may compile.
    return Math.max(1, Math.ceil(STRETCH_MS / Math.max(1e-3, timeOf(sgemm, 1))));
  });
  const best: number[] = libraries.map(() => Infinity);
  const start = performance.now();
  for (let round = 0; round < ROUNDS; round++) {
    if (round > 1 && performance.now() - start > MOST_MS * libraries.length) break;
    libraries.forEach((sgemm, i) => {
      best[i] = Math.min(best[i], timeOf(sgemm, repeats[i]) / repeats[i]);
    });
  }
  return best;
}

/** The folder of files that this program may lose; null if the system names none. */
function cacheFolder(): string | null {
  const own = environment("XDG_CACHE_HOME");
  if (own) return `${own}/nanovlm`;
  if (Deno.build.os === "windows") {
    const local = environment("LOCALAPPDATA");
    return local ? `${local}\\nanovlm` : null;
  }
  const home = environment("HOME");
  if (!home) return null;
  return Deno.build.os === "darwin" ? `${home}/Library/Caches/nanovlm` : `${home}/.cache/nanovlm`;
}

function isGranted(name: "read" | "write", path: string): boolean {
  return Deno.permissions.querySync({ name, path }).state === "granted";
}

/** The processor's name, since a home folder may be shared by machines. Needs `--allow-sys`. */
function processorName(): string {
  try {
    return cpus()[0]?.model ?? Deno.build.arch;
  } catch {
    return Deno.build.arch;
  }
}

/** The file's content: names of libraries by machine and shape. */
type Choices = Record<string, Record<string, string>>;

function isChoices(value: unknown): value is Choices {
  return typeof value === "object" && value !== null &&
    Object.values(value).every((shapes) => typeof shapes === "object" && shapes !== null);
}

/** The choices of this machine, in memory and in a file. */
export class LibraryChoices {
  /** Where they are kept; null: they cannot be read, and the first library multiplies all. */
  readonly file: string | null;
  /** Whether new shapes are measured; if not, the first library multiplies them. */
  readonly measures: boolean;
  readonly #libraries: readonly (readonly [GemmLibrary, Sgemm])[];
  readonly #machine: string;
  #known: Map<string, number> | null = null;

  /**
   * @param libraries the default first
   * @param folder of the file; default: the system's folder for caches
   */
  constructor(
    libraries: readonly (readonly [GemmLibrary, Sgemm])[],
    folder: string | null = cacheFolder(),
  ) {
    this.#libraries = libraries;
    const canRead = libraries.length > 1 && folder !== null && isGranted("read", folder);
    this.file = canRead ? `${folder}/product_libraries.json` : null;
    this.measures = canRead && isGranted("write", folder);
    const files = libraries.map(([{ file }]) => file).join(" ");
    this.#machine = this.file === null ? "" : `${processorName()}, ${files}`;
  }

  /** The index of the library that multiplies a shape. It is measured if no run has done so before. */
  choose(shape: ProductShape): number {
    if (this.file === null) return 0;
    const key = shapeKey(shape);
    this.#known ??= this.#read().known;
    return this.#known.get(key) ?? this.#decide(key, shape);
  }

  /** The libraries of the measured shapes, by their keys. */
  known(): ReadonlyMap<string, string> {
    if (this.file === null) return new Map();
    this.#known ??= this.#read().known;
    const names = this.#libraries.map(([{ name }]) => name);
    return new Map([...this.#known].map(([key, index]) => [key, names[index]]));
  }

  /**
   * Takes over choices of an earlier run for shapes that are not known here, so that they need no
   * measurement, which might choose otherwise. Names of libraries that are not here are ignored.
   *
   * @param recorded names of libraries by the keys of their shapes
   */
  adopt(recorded: ReadonlyMap<string, string>): void {
    if (!this.measures) return;
    const names = this.#libraries.map(([{ name }]) => name);
    const known = this.known();
    const wanted = [...recorded].filter(([key, name]) => !known.has(key) && names.includes(name));
    if (wanted.length > 0) this.#add(() => Object.fromEntries(wanted));
  }

  #read(): { all: Choices; known: Map<string, number> } {
    let all: Choices = {};
    try {
      const found: unknown = JSON.parse(Deno.readTextFileSync(this.file!));
      if (isChoices(found)) all = found;
    } catch {
      // There is no file yet, or none that can be read: it is written again.
    }
    const names = this.#libraries.map(([{ name }]) => name);
    const known = new Map<string, number>();
    for (const [key, name] of Object.entries(all[this.#machine] ?? {})) {
      if (names.includes(name)) known.set(key, names.indexOf(name));
    }
    return { all, known };
  }

  /** Measures under a lock, so that two processes never decide the same shape differently. */
  #decide(key: string, shape: ProductShape): number {
    if (!this.measures) return 0;
    try {
      this.#add((known) => {
        if (known.has(key)) return {};
        const index = fastestOf(measure(shape, this.#libraries.map(([, sgemm]) => sgemm)));
        return { [key]: this.#libraries[index][0].name };
      });
      return this.#known!.get(key) ?? 0;
    } catch {
      // What cannot be kept is not measured either: a later run could not make the same choice.
      this.#known!.set(key, 0);
      return 0;
    }
  }

  /** Adds choices to the file, under its lock; what it has already stays. */
  #add(made: (known: ReadonlyMap<string, number>) => Record<string, string>): void {
    const file = this.file!;
    Deno.mkdirSync(file.slice(0, file.lastIndexOf("/") + 1) || ".", { recursive: true });
    using lock = Deno.openSync(`${file}.lock`, { create: true, write: true });
    lock.lockSync(true);
    const { all, known } = this.#read();
    const added = made(known);
    if (Object.keys(added).length > 0) {
      const shapes = { ...added, ...all[this.#machine] };
      const text = JSON.stringify({ ...all, [this.#machine]: shapes }, null, 2);
      Deno.writeTextFileSync(`${file}.new`, text + "\n");
      Deno.renameSync(`${file}.new`, file);
    }
    this.#known = this.#read().known;
  }
}
