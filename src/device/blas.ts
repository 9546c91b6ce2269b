/**
 * A BLAS that the machine happens to have, called in place on the wasm heap: twice as fast as
 * WebAssembly's four lanes. Needs `--allow-ffi`; never required.
 * @module
 */

/**
 * c (=|+=) op(a) op(b) on a heap: m, n, k, a, aRow, aColumn, b, bRow, bColumn, c, cRow, accumulate;
 * addresses in bytes, strides in floats. Returns 1 where it ran, 0 where it cannot.
 */
export type LargeGemm = (...parameters: number[]) => number;

/** A BLAS that was found. */
export interface Blas {
  /** The library's file name. */
  readonly library: string;
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

const ROW_MAJOR = 101;
const NO_TRANSPOSE = 111;
const TRANSPOSE = 112;

let found: Blas | NoBlas | null = null;

function disabled(): boolean {
  try {
    return Deno.env.get("NANOVLM_BLAS") === "0";
  } catch {
    return false;
  }
}

function open(): Blas | NoBlas {
  if (disabled()) return { reason: "NANOVLM_BLAS=0 turns it off" };
  if (Deno.permissions.querySync({ name: "ffi" }).state !== "granted") {
    return { reason: "no --allow-ffi permission" };
  }
  for (const library of LIBRARIES[Deno.build.os] ?? []) {
    try {
      const { symbols } = Deno.dlopen(library, SYMBOLS);
      return { library, largeGemm: (memory) => blasGemm(symbols.cblas_sgemm, memory) };
    } catch {
      // Not on this machine, or without the symbol: the next one.
    }
  }
  return { reason: "no BLAS library found (on Debian: apt install libblis4-pthread)" };
}

/** The machine's BLAS, looked for once a process. `NANOVLM_BLAS=0` turns it off. */
export function findBlas(): Blas | NoBlas {
  found ??= open();
  return found;
}

type Sgemm = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"]["cblas_sgemm"];

function blasGemm(sgemm: Sgemm, memory: WebAssembly.Memory): LargeGemm {
  let buffer: ArrayBufferLike | null = null;
  let base = 0n;
  return (m, n, k, a, aRow, aColumn, b, bRow, bColumn, c, cRow, accumulate) => {
    // Growing the heap makes a new buffer; the old one's address is not to be trusted.
    if (memory.buffer !== buffer) {
      buffer = memory.buffer;
      base = Deno.UnsafePointer.value(Deno.UnsafePointer.of(new Uint8Array(buffer)));
    }
    const aPlain = aColumn === 1;
    const bPlain = bColumn === 1;
    if (!(aPlain || aRow === 1) || !(bPlain || bRow === 1)) return 0;
    // A leading dim below the row's length is refused even where there is one row alone.
    const lda = aPlain ? Math.max(aRow, k) : Math.max(aColumn, m);
    const ldb = bPlain ? Math.max(bRow, n) : Math.max(bColumn, k);
    // deno-fmt-ignore
    sgemm(
      ROW_MAJOR, aPlain ? NO_TRANSPOSE : TRANSPOSE, bPlain ? NO_TRANSPOSE : TRANSPOSE, m, n, k, 1,
      base + BigInt(a >>> 0), lda, base + BigInt(b >>> 0), ldb, accumulate,
      base + BigInt(c >>> 0), cRow,
    );
    return 1;
  };
}
