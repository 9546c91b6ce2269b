/**
 * Memory of weights on their way to the device. The collector learns late how much memory arrays hold:
 * a model's weights, read one by one, stay as garbage for hundreds of mebibytes.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";

/** A weight's values on the host. */
type Values = { readonly bits: Uint16Array } | { readonly data: Float32Array };

/** Frees an array's memory at once if it is all of its buffer. The array is empty then. */
export function releaseMemory({ buffer, byteLength }: ArrayBufferView): void {
  const isWhole = buffer instanceof ArrayBuffer && buffer.byteLength === byteLength;
  if (isWhole && !buffer.detached) buffer.transfer(0);
}

/** Frees a weight's values after its upload. Other backends than wasm keep them for longer. */
export function releaseUploaded(values: Values): void {
  if (tf.getBackend() === "wasm") releaseMemory("bits" in values ? values.bits : values.data);
}

/**
 * The same weights, each of which is freed when the next one is asked for.
 *
 * @param weights that nothing else holds; the caller must upload each before it asks for the next
 */
export function* releasedAfterUpload<T extends Values>(
  weights: Iterable<[string, T]>,
): Generator<[string, T]> {
  for (const pair of weights) {
    yield pair;
    releaseUploaded(pair[1]);
  }
}
