/**
 * The machine's BLAS, if it has one, called in place on the wasm heap: on each core twice as fast as
 * WebAssembly's four lanes. Needs `--allow-ffi`; never required.
 * @module
 */
import { environment } from "./thread_count.ts";

/**
 * c (=|+=) op(a) op(b) on a heap: m, n, k, a, aRow, aColumn, b, bRow, bColumn, c, cRow, accumulate;
 * addresses in bytes, strides in floats. Returns 1 if it ran, 0 if it cannot.
 */
export type LargeGemm = (...parameters: number[]) => number;

/** cblas_sgemm, as Deno's FFI calls it; addresses are the process's. */
export type SgemmFunction = (...parameters: (number | bigint)[]) => void;

/** A BLAS that was found. If it has threads of its own, set NANOVLM_THREADS=1. */
export interface Blas {
  /** The library's file name. */
  readonly library: string;
  /** The product on a heap, on the thread that calls it. */
  largeGemm(memory: WebAssembly.Memory): LargeGemm;
}

/** Why there is no BLAS, and how to get one. */
export interface NoBlas {
  readonly reason: string;
}

/** Best first: BLIS needs only libc and is the fastest at few rows. */
const LIBRARIES: Record<string, readonly string[]> = {
  linux: ["libblis.so.4", "libblis.so", "libopenblas.so.0", "libopenblas.so", "libmkl_rt.so.2"],
  darwin: ["/System/Library/Frameworks/Accelerate.framework/Accelerate", "libopenblas.dylib"],
  windows: ["libblis.dll", "libopenblas.dll", "mkl_rt.2.dll"],
};

/** The function that is used from the library. */
export const SGEMM_SYMBOLS = {
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

let found: Blas | NoBlas | null = null;

function open(): Blas | NoBlas {
  if (environment("NANOVLM_BLAS") === "0") return { reason: "NANOVLM_BLAS=0 turns it off" };
  if (Deno.permissions.querySync({ name: "ffi" }).state !== "granted") {
    return { reason: "no --allow-ffi permission" };
  }
  for (const library of LIBRARIES[Deno.build.os] ?? []) {
    try {
      const { symbols } = Deno.dlopen(library, SGEMM_SYMBOLS);
      const sgemm = symbols.cblas_sgemm as unknown as SgemmFunction;
      return { library, largeGemm: (memory) => blasGemm(sgemm, memory) };
    } catch {
      // Not on this machine, or without the symbol: the next one.
    }
  }
  return { reason: "no BLAS library found (on Debian: apt install libblis4-serial)" };
}

/** The machine's BLAS; searched once in a process. `NANOVLM_BLAS=0` turns it off. */
export function findBlas(): Blas | NoBlas {
  found ??= open();
  return found;
}

/**
 * cblas_sgemm on a heap whose first byte is at `base`, as {@linkcode LargeGemm}. It runs in other
 * threads too, as source text, so it must use only its parameters.
 */
export function sgemmOnHeap(
  sgemm: SgemmFunction,
  base: bigint,
  ...[m, n, k, a, aRow, aColumn, b, bRow, bColumn, c, cRow, accumulate]: number[]
): number {
  const transposeA = aColumn !== 1;
  const transposeB = bColumn !== 1;
  if ((transposeA && aRow !== 1) || (transposeB && bRow !== 1)) return 0;
  // A leading dim below the row's length is refused even if there is only one row.
  const lda = transposeA ? Math.max(aColumn, m) : Math.max(aRow, k);
  const ldb = transposeB ? Math.max(bColumn, k) : Math.max(bRow, n);
  const address = (offset: number): bigint => base + BigInt(offset >>> 0);
  // 101: rows in order. 111, 112: an operand as it is, or transposed.
  // deno-fmt-ignore
  sgemm(
    101, transposeA ? 112 : 111, transposeB ? 112 : 111, m, n, k, 1, address(a), lda, address(b),
    ldb, accumulate !== 0 ? 1 : 0, address(c), cRow,
  );
  return 1;
}

/** The process's address of a memory's first byte. Needs `--allow-ffi`. */
export function memoryAddress(memory: WebAssembly.Memory): bigint {
  return Deno.UnsafePointer.value(Deno.UnsafePointer.of(new Uint8Array(memory.buffer)));
}

function blasGemm(sgemm: SgemmFunction, memory: WebAssembly.Memory): LargeGemm {
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
