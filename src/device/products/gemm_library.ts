/**
 * The libraries that may multiply matrices on the wasm heap, and how to call them through FFI.
 * @module
 */

/** A library for matrix products. */
export interface GemmLibrary {
  /** As `NANOVLM_BLAS` and the log call it. */
  readonly name: string;
  /** The file's name. */
  readonly file: string;
  /** The function that it offers: `cblas_sgemm` or `dnnl_sgemm`. */
  readonly symbol: "cblas_sgemm" | "dnnl_sgemm";
}

/**
 * C [m, n] = A B + beta C on row-major matrices; addresses are the process's, and leading dims count
 * floats. Returns whether it ran.
 */
export type Sgemm = (
  product: {
    readonly transposeA: boolean;
    readonly transposeB: boolean;
    readonly m: number;
    readonly n: number;
    readonly k: number;
    readonly a: bigint;
    readonly lda: number;
    readonly b: bigint;
    readonly ldb: number;
    readonly beta: number;
    readonly c: bigint;
    readonly ldc: number;
  },
) => boolean;

/**
 * Opens a library for the thread that calls this. It runs in other threads too, as source text, so it
 * must use only its parameter.
 *
 * @throws {Error} if the machine has no such library, or it lacks the function
 */
export function openGemmLibrary({ file, symbol }: Pick<GemmLibrary, "file" | "symbol">): Sgemm {
  if (symbol === "cblas_sgemm") {
    const { symbols } = Deno.dlopen(file, {
      cblas_sgemm: {
        // order, transA, transB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc
        // deno-fmt-ignore
        parameters: [
          "i32", "i32", "i32", "i32", "i32", "i32", "f32", "usize", "i32", "usize", "i32", "f32",
          "usize", "i32",
        ],
        result: "void",
      },
    });
    return ({ transposeA, transposeB, m, n, k, a, lda, b, ldb, beta, c, ldc }) => {
      // 101: rows in order. 111, 112: an operand as it is, or transposed.
      const [A, B] = [transposeA ? 112 : 111, transposeB ? 112 : 111];
      symbols.cblas_sgemm(101, A, B, m, n, k, 1, a, lda, b, ldb, beta, c, ldc);
      return true;
    };
  }
  // Its own threads (OpenMP's) are switched off: ours share the work. The setting is the thread's.
  Deno.dlopen("libgomp.so.1", {
    omp_set_num_threads: { parameters: ["i32"], result: "void" },
  }).symbols.omp_set_num_threads(1);
  const { symbols } = Deno.dlopen(file, {
    dnnl_sgemm: {
      // transA, transB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc
      // deno-fmt-ignore
      parameters: [
        "u8", "u8", "i64", "i64", "i64", "f32", "usize", "i64", "usize", "i64", "f32", "usize",
        "i64",
      ],
      result: "i32",
    },
  });
  return ({ transposeA, transposeB, m, n, k, a, lda, b, ldb, beta, c, ldc }) => {
    // The letters N and T: an operand as it is, or transposed.
    const [A, B] = [transposeA ? 84 : 78, transposeB ? 84 : 78];
    const [M, N, K, LDA, LDB, LDC] = [m, n, k, lda, ldb, ldc].map(BigInt);
    return symbols.dnnl_sgemm(A, B, M, N, K, 1, a, LDA, b, LDB, beta, c, LDC) === 0;
  };
}

/** The files to try for each library, by operating system. The first that is found is the default. */
const KNOWN: Record<string, readonly GemmLibrary[]> = {
  linux: [
    { name: "blis", file: "libblis.so.4", symbol: "cblas_sgemm" },
    { name: "blis", file: "libblis.so", symbol: "cblas_sgemm" },
    { name: "openblas", file: "libopenblas.so.0", symbol: "cblas_sgemm" },
    { name: "openblas", file: "libopenblas.so", symbol: "cblas_sgemm" },
    { name: "mkl", file: "libmkl_rt.so.2", symbol: "cblas_sgemm" },
    { name: "onednn", file: "libdnnl.so.3", symbol: "dnnl_sgemm" },
    { name: "onednn", file: "libdnnl.so.2", symbol: "dnnl_sgemm" },
  ],
  darwin: [
    {
      name: "accelerate",
      file: "/System/Library/Frameworks/Accelerate.framework/Accelerate",
      symbol: "cblas_sgemm",
    },
    { name: "openblas", file: "libopenblas.dylib", symbol: "cblas_sgemm" },
  ],
  windows: [
    { name: "blis", file: "libblis.dll", symbol: "cblas_sgemm" },
    { name: "openblas", file: "libopenblas.dll", symbol: "cblas_sgemm" },
    { name: "mkl", file: "mkl_rt.2.dll", symbol: "cblas_sgemm" },
  ],
};

/** The names that `NANOVLM_BLAS` may have on this system. */
export function knownNames(): string[] {
  return [...new Set((KNOWN[Deno.build.os] ?? []).map(({ name }) => name))];
}

/**
 * The libraries of this machine, opened for this thread; one file for each name.
 *
 * @param only a name, to open no others
 */
export function openGemmLibraries(only: string | null): [library: GemmLibrary, sgemm: Sgemm][] {
  const found: [GemmLibrary, Sgemm][] = [];
  for (const library of KNOWN[Deno.build.os] ?? []) {
    if (only !== null && library.name !== only) continue;
    if (found.some(([{ name }]) => name === library.name)) continue;
    try {
      found.push([library, openGemmLibrary(library)]);
    } catch {
      // Not on this machine, or without the symbol: the next one.
    }
  }
  return found;
}
