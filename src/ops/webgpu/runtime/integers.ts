/**
 * Integers that shaders read.
 * @module
 */

/** An object whose integers are kept on the device until it is disposed. */
export interface IntegerOwner {
  onDispose(free: () => void): void;
}

/** A binding must not be empty. */
export function nonEmpty(values: Int32Array): Int32Array<ArrayBuffer> {
  return values.length === 0 ? new Int32Array(1) : new Int32Array(values);
}
