/**
 * The only place that reads tensors back. Each awaited read costs about 11 ms in Deno's WebGPU,
 * however small it is, so callers collect what they need and read once.
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { turnEventLoop } from "./event_loop.ts";

/** What comes back: float32 as Float32Array, int32 as Int32Array, bool as Uint8Array. */
export type ReadBackArray = Float32Array | Int32Array | Uint8Array;

/** Float32 values that are joined on the device to be read at once: 16 MiB. */
const MOST_JOINED = 2 ** 22;

function isUploaded(tensor: tf.Tensor): boolean {
  return tensor.dtype === "float32" && tensor.size > 0;
}

/** Groups of tensors that are read together; a tensor beyond the limit is read alone. */
function groupsOf(tensors: readonly tf.Tensor[]): tf.Tensor[][] {
  const groups: tf.Tensor[][] = [];
  let size = Infinity;
  for (const tensor of tensors) {
    if (size + tensor.size > MOST_JOINED) {
      groups.push([]);
      size = 0;
    }
    groups.at(-1)!.push(tensor);
    size += tensor.size;
  }
  return groups;
}

/** Reads float32 tensors with a single wait. */
async function readJoined(tensors: readonly tf.Tensor[]): Promise<Float32Array[]> {
  if (tensors.length === 1) return [await tensors[0].data() as Float32Array];
  const joined = tf.tidy(() => tf.concat1d(tensors.map((t) => t.reshape([t.size]) as tf.Tensor1D)));
  try {
    const all = await joined.data() as Float32Array;
    let offset = 0;
    return tensors.map(({ size }) => all.slice(offset, offset += size));
  } finally {
    joined.dispose();
  }
}

/**
 * Reads tensors back, all small float32 ones with a single wait. The caller keeps the
 * tensors. Signals and timers are handled meanwhile.
 *
 * @param tensors any shapes; float32, int32 or bool
 * @returns the values in the order of `tensors`, row-major
 * @throws {DeviceLostError} if the device is lost before the values arrive
 */
export async function readBack(tensors: readonly tf.Tensor[]): Promise<ReadBackArray[]> {
  // Every loop reads back now and then, but on these backends reading does not wait.
  if (tf.getBackend() !== "webgpu") {
    await turnEventLoop();
    return await Promise.all(tensors.map((t) => t.data() as Promise<ReadBackArray>));
  }
  const others = Promise.all(
    tensors.filter((t) => !isUploaded(t)).map((t) => t.data() as Promise<ReadBackArray>),
  );
  others.catch(() => {}); // Looked at below, unless a float fails before.
  const floats: Float32Array[] = [];
  // One group after the other: all at once would need twice their bytes on the device.
  for (const group of groupsOf(tensors.filter(isUploaded))) {
    floats.push(...await readJoined(group));
  }
  const rest = await others;
  return tensors.map((t) => (isUploaded(t) ? floats.shift() : rest.shift()) as ReadBackArray);
}
