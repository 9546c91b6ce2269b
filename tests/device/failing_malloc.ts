/** Memory that runs out at a chosen moment. */
import { assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { OutOfMemoryError } from "../../src/device/out_of_memory.ts";
import { wasmHeap } from "../../src/device/wasm_heap.ts";

/** What there is on the wasm heap. */
function held(): { tensors: number; bytes: number } {
  return { tensors: tf.memory().numTensors, bytes: wasmHeap()!.usedBytes() };
}

/** Runs `run` with the `failing`-th allocation refused; 0: none. @returns how many there were */
async function withFailure(failing: number, run: () => void | Promise<void>): Promise<number> {
  const { wasm } = wasmHeap()!.backend;
  const malloc = wasm._malloc;
  let count = 0;
  wasm._malloc = (bytes) => {
    if (++count === failing) throw new OutOfMemoryError("the wasm heap", bytes, 0, 0);
    return malloc(bytes);
  };
  try {
    await run();
  } finally {
    wasm._malloc = malloc;
  }
  return count;
}

/**
 * Asserts that `run` leaves no tensors and no bytes on the wasm heap, whichever of its allocations
 * fails, and then works again.
 *
 * @param run frees all its tensors, also if it fails
 * @param most allocations that are tried, spread over all of them
 */
export async function assertFreesOnFailure(
  run: () => void | Promise<void>,
  most = 400,
): Promise<void> {
  await run(); // Scratch is allocated once, and stays.
  const before = held();
  const count = await withFailure(0, run);
  assertEquals(held(), before);
  const step = Math.max(1, count / most);
  for (let i = 1; i <= count; i += step) {
    const failing = Math.floor(i);
    let failed = false;
    try {
      await withFailure(failing, run);
    } catch (error) {
      if (!(error instanceof OutOfMemoryError)) throw error;
      failed = true;
    }
    assertEquals(failed, true, `allocation ${failing} of ${count} was not asked for`);
    assertEquals(held(), before, `after allocation ${failing} of ${count} failed`);
  }
  await run();
  assertEquals(held(), before);
}
