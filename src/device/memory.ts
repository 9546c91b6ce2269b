/**
 * Live bytes, counted by us: Deno's garbage collector does not see GPU memory.
 * @module
 */
import * as tf from "@tensorflow/tfjs";

let ownBytes = 0;

/** Adds (or with a negative number takes away) GPU bytes that we allocated past tfjs. */
export function countGpuBytes(delta: number): void {
  ownBytes += delta;
}

/** GPU bytes in live buffers, tfjs's and ours; 0 on backends without a GPU. */
export function gpuBytes(): number {
  const info: object = tf.memory();
  const tfjsBytes = "numBytesInGPU" in info ? Number(info.numBytesInGPU) : 0;
  return tfjsBytes + ownBytes;
}
