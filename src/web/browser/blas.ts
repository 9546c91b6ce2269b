/**
 * What a browser gets in place of `src/device/products/blas.ts`: no library, so that the wasm kernels
 * compute all products.
 *
 * @module
 */
import type { NoBlas } from "../../device/products/blas.ts";

/** Says that there is no library. */
export function findBlas(): NoBlas {
  return { reason: "a browser has no library for products" };
}

function missing(): never {
  throw new Error("Cannot multiply by a library: a browser has none");
}

/** Never called, since there is no library. */
export const shapeOf: () => never = missing;
/** Never called, since there is no library. */
export const memoryAddress: () => never = missing;
/** Never called, since there is no library. */
export const sgemmOnHeap: () => never = missing;
