/**
 * The state that an optimizer keeps for a parameter: on the device on webgpu, else in host memory,
 * outside the wasm heap, whose 4 GiB would not hold it beside weights and gradients.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../../device/read_back.ts";
import { elementCount } from "../../element_count.ts";

/** What an array of state holds. */
export interface StateSpec {
  readonly shape: readonly number[];
  readonly dtype: "float32" | "uint8";
}

/** An array on the host. */
export type HostState = Float32Array | Uint8Array;

/** An array of state. On the device, bytes lie in an int32 tensor, four in a number. */
export type StateArray = HostState | tf.Variable;

/** Whether an array lies on the host. */
export function isOnHost(array: StateArray): array is HostState {
  return array instanceof Float32Array || array instanceof Uint8Array;
}

/** Bytes of an array. */
export function stateBytes({ shape, dtype }: StateSpec): number {
  return elementCount(shape) * (dtype === "float32" ? 4 : 1);
}

/** An array of zeros, in the memory that the current backend wants it in. */
export function createState({ shape, dtype }: StateSpec): StateArray {
  const size = elementCount(shape);
  if (tf.getBackend() !== "webgpu") {
    return dtype === "float32" ? new Float32Array(size) : new Uint8Array(size);
  }
  return tf.tidy(() =>
    tf.variable(
      dtype === "float32" ? tf.zeros([...shape]) : tf.zeros([Math.ceil(size / 4)], "int32"),
      false,
    )
  );
}

/** Sets an array to `values`, as many as it has. */
export function setState(array: StateArray, values: HostState): void {
  if (isOnHost(array)) return array.set(values);
  if (values instanceof Float32Array) {
    return tf.tidy(() => array.assign(tf.tensor(values, array.shape)));
  }
  const words = new Int32Array(array.size);
  new Uint8Array(words.buffer).set(values);
  tf.tidy(() => array.assign(tf.tensor(words, array.shape, "int32")));
}

/**
 * Arrays on the host: those that are there anyway as they are, which change with the next step, and
 * copies of the others.
 *
 * @param arrays with what each holds
 */
export async function readStates(
  arrays: readonly (readonly [StateArray, StateSpec])[],
): Promise<HostState[]> {
  const onDevice = arrays.flatMap(([array]) => isOnHost(array) ? [] : [array]);
  const read = await readBack(onDevice);
  return arrays.map(([array, { shape, dtype }]) => {
    if (isOnHost(array)) return array;
    const values = read.shift()!;
    if (dtype === "float32") return values as Float32Array;
    return new Uint8Array(values.buffer, values.byteOffset, elementCount(shape));
  });
}

/** Frees an array. */
export function disposeState(array: StateArray): void {
  if (!isOnHost(array)) array.dispose();
}
