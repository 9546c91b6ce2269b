/**
 * A BLAS that the machine happens to have, called in place on the wasm heap: twice as fast as
 * WebAssembly's four lanes on each core. Needs `--allow-ffi`; never required.
 * @module
 */
import {
  type BlasThreads,
  runSgemm,
  type Sgemm,
  type SgemmFunction,
  startBlasThreads,
} from "./blas_threads.ts";
import { environment, threadCount } from "./thread_count.ts";

/**
 * c (=|+=) op(a) op(b) on a heap: m, n, k, a, aRow, aColumn, b, bRow, bColumn, c, cRow, accumulate;
 * addresses in bytes, strides in floats. Returns 1 where it ran, 0 where it cannot.
 */
export type LargeGemm = (...parameters: number[]) => number;

/** A BLAS that was found. */
export interface Blas {
  /** The library's file name. */
  readonly library: string;
  readonly sgemm: SgemmFunction;
  /** Threads that a large product runs on, ours included. */
  threads(): number;
  /** The product on a heap; its addresses count from the memory's start. */
  largeGemm(memory: WebAssembly.Memory): LargeGemm;
}

/** Where there is no BLAS, and what to do about it. */
export interface NoBlas {
  readonly reason: string;
}

/** Best first: BLIS needs libc alone and is the fastest at few rows. */
const LIBRARIES: Record<string, readonly string[]> = {
  linux: ["libblis.so.4", "libblis.so", "libopenblas.so.0", "libopenblas.so", "libmkl_rt.so.2"],
  darwin: ["/System/Library/Frameworks/Accelerate.framework/Accelerate", "libopenblas.dylib"],
  windows: ["libblis.dll", "libopenblas.dll", "mkl_rt.2.dll"],
};

const SYMBOLS = {
  cblas_sgemm: {
    // order, transA, transB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc
    // deno-fmt-ignore
    parameters: [
      "i32", "i32", "i32", "i32", "i32", "i32", "f32", "usize", "i32", "usize", "i32", "f32",
      "usize", "i32",
    ],
    result: "void",
  },
} as const;

/** Multiplications below which waking another thread costs more than it saves. */
const THREADED_WORK = 4e6;

let found: Blas | NoBlas | null = null;
let pool: BlasThreads | null = null;

function open(): Blas | NoBlas {
  if (environment("NANOVLM_BLAS") === "0") return { reason: "NANOVLM_BLAS=0 turns it off" };
  if (Deno.permissions.querySync({ name: "ffi" }).state !== "granted") {
    return { reason: "no --allow-ffi permission" };
  }
  for (const library of LIBRARIES[Deno.build.os] ?? []) {
    try {
      const { symbols } = Deno.dlopen(library, SYMBOLS);
      const sgemm = symbols.cblas_sgemm as unknown as SgemmFunction;
      return {
        library,
        sgemm,
        threads: () => 1 + (pool?.count ?? 0),
        largeGemm: (memory) => blasGemm(sgemm, memory),
      };
    } catch {
      // Not on this machine, or without the symbol: the next one.
    }
  }
  return { reason: "no BLAS library found (on Debian: apt install libblis4-serial)" };
}

/** The machine's BLAS, looked for once a process. `NANOVLM_BLAS=0` turns it off. */
export function findBlas(): Blas | NoBlas {
  found ??= open();
  return found;
}

/**
 * Looks for a BLAS and starts threads for it, once a process: one a core up to eight, or
 * `NANOVLM_THREADS`. BLIS's serial build is meant; a threaded library is best left alone with
 * `NANOVLM_THREADS=1`.
 */
export function startBlas(): Blas | NoBlas {
  const blas = findBlas();
  if ("reason" in blas || pool !== null) return blas;
  pool = startBlasThreads(blas.library, blas.sgemm, threadCount() - 1);
  return blas;
}

function blasGemm(sgemm: SgemmFunction, memory: WebAssembly.Memory): LargeGemm {
  let buffer: ArrayBufferLike | null = null;
  let base = 0n;
  return (m, n, k, a, aRow, aColumn, b, bRow, bColumn, c, cRow, accumulate) => {
    // Growing the heap makes a new buffer; the old one's address is not to be trusted.
    if (memory.buffer !== buffer) {
      buffer = memory.buffer;
      base = Deno.UnsafePointer.value(Deno.UnsafePointer.of(new Uint8Array(buffer)));
    }
    const transposeA = aColumn !== 1;
    const transposeB = bColumn !== 1;
    if ((transposeA && aRow !== 1) || (transposeB && bRow !== 1)) return 0;
    const product: Sgemm = {
      transposeA,
      transposeB,
      m,
      n,
      k,
      a: base + BigInt(a >>> 0),
      // A leading dim below the row's length is refused even where there is one row alone.
      lda: transposeA ? Math.max(aColumn, m) : Math.max(aRow, k),
      b: base + BigInt(b >>> 0),
      ldb: transposeB ? Math.max(bColumn, k) : Math.max(bRow, n),
      accumulate: accumulate !== 0,
      c: base + BigInt(c >>> 0),
      ldc: cRow,
    };
    if (pool !== null && pool.count > 0 && m * n * k >= THREADED_WORK) pool.run(product);
    else runSgemm(sgemm, product);
    return 1;
  };
}
