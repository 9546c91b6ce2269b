/**
 * Matrix products on the wasm heap.
 * @module
 */
import type { KernelModule } from "../runtime/kernel_module.ts";

/** A product to run: c (=|+=) op(a) op(b), every stride in floats, addresses in bytes. */
export interface Gemm {
  readonly batch: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly a: number;
  readonly aRow: number;
  readonly aColumn: number;
  readonly aBatch: number;
  readonly b: number;
  readonly bRow: number;
  readonly bColumn: number;
  readonly bBatch: number;
  readonly c: number;
  readonly cRow: number;
  readonly cBatch: number;
  readonly accumulate: boolean;
}

/** Runs a product. */
export type GemmFunction = (product: Gemm) => void;

/** The module's own product. */
export function wasmGemm(module: KernelModule): GemmFunction {
  const scratchFloats = module.call("nano_gemm_scratch_floats", {});
  return (p) => {
    module.call("nano_gemm", {
      ...{ batch: p.batch, m: p.m, n: p.n, k: p.k },
      ...{ a: p.a, a_row: p.aRow, a_col: p.aColumn, a_batch: p.aBatch },
      ...{ b: p.b, b_row: p.bRow, b_col: p.bColumn, b_batch: p.bBatch },
      ...{ c: p.c, ldc: p.cRow, c_batch: p.cBatch },
      accumulate: p.accumulate ? 1 : 0,
      scratch: module.scratch(scratchFloats),
    });
  };
}
