/**
 * Sums of the squares of gradients' values, in parts, as the products that computed the gradients have
 * written them: the gradient norm adds these up and does not read the gradients again.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import type { TfjsWebgpuBackend } from "./tfjs_backend.ts";

const squares = new WeakMap<tf.DataId, tf.TensorInfo>();

type Held = Pick<tf.TensorInfo, "dataId">;

/** The sums of squares of a gradient's present values, if a product has written them: [parts]. */
export function squaresOf({ dataId }: Held): tf.TensorInfo | undefined {
  return squares.get(dataId);
}

/** Keeps them as long as the gradient keeps its values; takes ownership. */
export function keepSquares(backend: TfjsWebgpuBackend, gradient: Held, sums: tf.TensorInfo): void {
  forgetSquares(backend, gradient);
  squares.set(gradient.dataId, sums);
}

/** Frees them; call it if a gradient's values change. */
export function forgetSquares(backend: TfjsWebgpuBackend, { dataId }: Held): void {
  const found = squares.get(dataId);
  squares.delete(dataId);
  if (found !== undefined) backend.disposeData(found.dataId);
}

/** Makes a backend free them with their gradient. */
export function freeSquares(backend: TfjsWebgpuBackend): void {
  const dispose = backend.disposeData.bind(backend);
  backend.disposeData = (dataId, force) => {
    const isGone = dispose(dataId, force);
    if (isGone) forgetSquares(backend, { dataId });
    return isGone;
  };
}
