/**
 * The one place that reads tensors back. Each awaited read costs about 11 ms in Deno's WebGPU
 * however small it is, so callers gather what they need and read once.
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { turnEventLoop } from "./event_loop.ts";

/** What comes back: float32 as Float32Array, int32 as Int32Array, bool as Uint8Array. */
export type ReadBackArray = Float32Array | Int32Array | Uint8Array;

function isUploaded(tensor: tf.Tensor): boolean {
  return tensor.dtype === "float32" && tensor.size > 0;
}

/**
 * Reads tensors back, all float32 ones with a single wait. The tensors stay the caller's. Signals
 * and timers get their turn meanwhile.
 *
 * @param tensors any shapes; float32, int32 or bool
 * @returns the values in the order of `tensors`, row-major
 */
export async function readBack(tensors: readonly tf.Tensor[]): Promise<ReadBackArray[]> {
  // Every loop reads back now and then, and on these backends that alone would not wait.
  if (tf.getBackend() !== "webgpu") await turnEventLoop();
  if (tf.getBackend() !== "webgpu" || tensors.filter(isUploaded).length < 2) {
    return await Promise.all(tensors.map((t) => t.data() as Promise<ReadBackArray>));
  }
  const joined = tf.tidy(() =>
    tf.concat1d(tensors.filter(isUploaded).map((t) => t.reshape([t.size]) as tf.Tensor1D))
  );
  try {
    const [all, ...others] = await Promise.all([
      joined.data() as Promise<Float32Array>,
      ...tensors.filter((t) => !isUploaded(t)).map((t) => t.data() as Promise<ReadBackArray>),
    ]);
    let offset = 0;
    return tensors.map((t) => {
      if (!isUploaded(t)) return others.shift() ?? new Float32Array(0);
      const values = all.slice(offset, offset + t.size);
      offset += t.size;
      return values;
    });
  } finally {
    joined.dispose();
  }
}
