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
  const kernel = module.kernel("nano_gemm");
  const scratchFloats = module.kernel("nano_gemm_scratch_floats")();
  return (p) => {
    const scratch = module.scratch(scratchFloats);
    // deno-fmt-ignore
    kernel(
      p.batch, p.m, p.n, p.k, p.a, p.aRow, p.aColumn, p.aBatch, p.b, p.bRow, p.bColumn, p.bBatch,
      p.c, p.cRow, p.cBatch, p.accumulate ? 1 : 0, scratch,
    );
  };
}
