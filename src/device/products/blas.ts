/**
 * Matrix products by the machine's libraries, called in place on the wasm heap: on each core two to
 * four times as fast as WebAssembly's four lanes. They need `--allow-ffi` and are never required.
 * @module
 */
import { environment } from "../thread_count.ts";
import { type GemmLibrary, knownNames, openGemmLibraries, type Sgemm } from "./gemm_library.ts";
import { LibraryChoices, type ProductShape } from "./library_choice.ts";

/**
 * c (=|+=) op(a) op(b) on a heap: m, n, k, a, aRow, aColumn, b, bRow, bColumn, c, cRow, accumulate;
 * addresses in bytes, strides in floats. Returns 1 if it ran, 0 if it cannot.
 */
export type LargeGemm = (...parameters: number[]) => number;

/** The libraries that were found. Switch off threads of their own. */
export interface Blas {
  /** What the log says: the files. */
  readonly library: string;
  /** The default first. */
  readonly libraries: readonly GemmLibrary[];
  /** The file that keeps which library multiplies which shape; null: the first multiplies all. */
  readonly choicesFile: string | null;
  /** The measured shapes and the names of their libraries. */
  choices(): ReadonlyMap<string, string>;
  /** Takes over choices of an earlier run for shapes that are not known yet. */
  adopt(choices: ReadonlyMap<string, string>): void;
  /** The index of the library that multiplies a shape. */
  choose(shape: ProductShape): number;
  /** The product of each library on a heap, for the thread that calls it. */
  largeGemms(memory: WebAssembly.Memory): LargeGemm[];
}

/** Why there is no library, and how to get one. */
export interface NoBlas {
  readonly reason: string;
}

let found: Blas | NoBlas | null = null;

/** `NANOVLM_BLAS`: null for every library, or the name of the only one. */
function wantedLibrary(): string | null {
  const wanted = environment("NANOVLM_BLAS") ?? "";
  if (["", "1", "auto"].includes(wanted)) return null;
  const names = knownNames();
  if (!names.includes(wanted)) {
    throw new TypeError(
      `Cannot choose a library for products: NANOVLM_BLAS is "${wanted}", want 0, auto, ` +
        names.join(", "),
    );
  }
  return wanted;
}

function open(): Blas | NoBlas {
  if (environment("NANOVLM_BLAS") === "0") return { reason: "NANOVLM_BLAS=0 turns it off" };
  if (Deno.permissions.querySync({ name: "ffi" }).state !== "granted") {
    return { reason: "no --allow-ffi permission" };
  }
  const opened = openGemmLibraries(wantedLibrary());
  if (opened.length === 0) {
    return { reason: "no BLAS library found (on Debian: apt install libblis4-serial libdnnl2)" };
  }
  const choices = new LibraryChoices(opened);
  const libraries = opened.map(([library]) => library);
  const used = choices.file === null ? libraries.slice(0, 1) : libraries;
  return {
    library: used.map(({ file }) => file).join(" or ") + (used.length > 1 ? ", by shape" : ""),
    libraries,
    choicesFile: choices.file,
    choices: () => choices.known(),
    adopt: (recorded) => choices.adopt(recorded),
    choose: (shape) => choices.choose(shape),
    largeGemms: (memory) => opened.map(([, sgemm]) => gemmOn(sgemm, memory)),
  };
}

/**
 * The machine's libraries; searched once in a process. `NANOVLM_BLAS=0` turns them off, a name leaves
 * one.
 *
 * @throws {TypeError} if `NANOVLM_BLAS` names no library
 */
export function findBlas(): Blas | NoBlas {
  found ??= open();
  return found;
}

/**
 * A library's product on a heap whose first byte is at `base`, as {@linkcode LargeGemm}. It runs in
 * other threads too, as source text, so it must use only its parameters.
 */
export function sgemmOnHeap(
  sgemm: Sgemm,
  base: bigint,
  ...[m, n, k, a, aRow, aColumn, b, bRow, bColumn, c, cRow, accumulate]: number[]
): number {
  const transposeA = aColumn !== 1;
  const transposeB = bColumn !== 1;
  if ((transposeA && aRow !== 1) || (transposeB && bRow !== 1)) return 0;
  const address = (offset: number): bigint => base + BigInt(offset >>> 0);
  const ran = sgemm({
    ...{ transposeA, transposeB, m, n, k, a: address(a), b: address(b), c: address(c) },
    // A leading dim below the row's length is refused even if there is only one row.
    lda: transposeA ? Math.max(aColumn, m) : Math.max(aRow, k),
    ldb: transposeB ? Math.max(bColumn, k) : Math.max(bRow, n),
    ldc: cRow,
    beta: accumulate !== 0 ? 1 : 0,
  });
  return ran ? 1 : 0;
}

/** The shape of a product in the parameters of a {@linkcode LargeGemm}. */
export function shapeOf([m, n, k, , , aColumn, , , bColumn]: readonly number[]): ProductShape {
  return { m, n, k, transposeA: aColumn !== 1, transposeB: bColumn !== 1 };
}

/** The process's address of a memory's first byte. Needs `--allow-ffi`. */
export function memoryAddress(memory: WebAssembly.Memory): bigint {
  return Deno.UnsafePointer.value(Deno.UnsafePointer.of(new Uint8Array(memory.buffer)));
}

function gemmOn(sgemm: Sgemm, memory: WebAssembly.Memory): LargeGemm {
  let buffer: ArrayBufferLike | null = null;
  let base = 0n;
  return (...parameters) => {
    // If the heap grows it has a new buffer; the address of the old one is not valid.
    if (memory.buffer !== buffer) {
      buffer = memory.buffer;
      base = memoryAddress(memory);
    }
    return sgemmOnHeap(sgemm, base, ...parameters);
  };
}
