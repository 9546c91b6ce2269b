/**
 * Copies of trained weights in 16 bits, R(w): products of 16-bit passes read them in place of the
 * float32 weights, in half the bytes, and AdamW writes them as it updates the weights. A weight that
 * was changed in another way has no valid copy until the next update; products round it as they read.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import type { HalfFormat } from "../../half/precision.ts";
import { canStoreHalf, makeStored } from "./half_storage.ts";
import type { TfjsWebgpuBackend } from "./tfjs_backend.ts";

/** The copy of one weight. */
interface HalfCopy {
  readonly half: HalfFormat;
  /** Stored in 16 bits; null before the first update. */
  stored: tf.TensorInfo | null;
  /** Whether it has the weight's present values. */
  isValid: boolean;
  /** Whether a product has asked for it since the last update. */
  wasRead: boolean;
}

const copies = new WeakMap<tf.DataId, HalfCopy>();

type Weight = Pick<tf.TensorInfo, "dataId" | "shape">;

/** Asks for a copy from the next update on. */
export function wantHalfCopy({ dataId, shape }: Weight, half: HalfFormat): void {
  const found = copies.get(dataId);
  if (found?.half === half) found.wasRead = true;
  else if (found === undefined && canStoreHalf(shape)) {
    copies.set(dataId, { half, stored: null, isValid: false, wasRead: true });
  }
}

/** The copy of a weight in that format, if there is a valid one. */
export function halfCopyOf({ dataId }: Weight, half: HalfFormat): tf.TensorInfo | undefined {
  const found = copies.get(dataId);
  if (found?.half !== half) return undefined;
  found.wasRead = true;
  return found.isValid ? found.stored ?? undefined : undefined;
}

/**
 * The tensor that an update of a weight writes R(w) to: null if no product has read it since the last
 * update, and the copy is freed then.
 */
export function halfCopyToWrite(backend: TfjsWebgpuBackend, weight: Weight): tf.TensorInfo | null {
  const found = copies.get(weight.dataId);
  if (found === undefined) return null;
  if (!found.wasRead) {
    freeHalfCopy(backend, weight.dataId);
    return null;
  }
  found.wasRead = false;
  found.isValid = true;
  return found.stored ??= makeStored(backend, weight.shape, found.half);
}

/** Call it if a weight's values change. */
export function forgetHalfCopy({ dataId }: Weight): void {
  const found = copies.get(dataId);
  if (found !== undefined) found.isValid = false;
}

function freeHalfCopy(backend: TfjsWebgpuBackend, dataId: tf.DataId): void {
  const found = copies.get(dataId);
  copies.delete(dataId);
  if (found?.stored) backend.disposeData(found.stored.dataId);
}

/** Makes a backend free the copy of a weight with the weight. */
export function freeHalfCopies(backend: TfjsWebgpuBackend): void {
  const dispose = backend.disposeData.bind(backend);
  backend.disposeData = (dataId, force) => {
    const isGone = dispose(dataId, force);
    if (isGone) freeHalfCopy(backend, dataId);
    return isGone;
  };
}
