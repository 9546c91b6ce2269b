/** How a wasm kernel is compared with its composite. */
import { assert, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { initBackend } from "../../../src/device/backend.ts";
import { fusedKernels } from "../../../src/ops/fused_kernels.ts";
import type { FusedKernels } from "../../../src/ops/kernels.ts";
import { assertClose } from "../assert_close.ts";
import { type Op, randomTensor } from "../random_tensor.ts";

/** Awkward sizes: below, at and above what a vector or a tile holds. */
export const SIZES = [1, 3, 17, 63, 65, 130];

/** What this backend has beside the kernels of all; it never returns null. */
type Own = Pick<
  Required<FusedKernels>,
  "adamWHost" | "headEntropy" | "roundedHeadLogProbs"
>;
interface WasmKernels extends Omit<FusedKernels, keyof Own>, Own {
  attention(...parameters: Parameters<FusedKernels["attention"]>): tf.Tensor3D;
  gatherPackedRows(...parameters: Parameters<FusedKernels["gatherPackedRows"]>): tf.Tensor2D;
}

/** The kernels, on a wasm backend. */
export async function kernels(): Promise<WasmKernels> {
  await initBackend({ backend: "wasm" });
  const found = fusedKernels();
  assert(found !== null);
  return found as WasmKernels;
}

/** Compares values and the gradients of every input, for a random gradient of the output. */
export function assertSameOp(
  name: string,
  fused: Op,
  composite: Op,
  inputs: tf.Tensor[],
  tolerance = 2e-5,
): void {
  const before = tf.memory().numTensors;
  tf.tidy(() => {
    const got = fused(...inputs);
    const want = composite(...inputs);
    assertEquals(got.shape, want.shape, name);
    assertClose(got.dataSync(), want.dataSync(), tolerance, name);
    const dy = randomTensor(want.shape, 99);
    const gradients = tf.grads(fused)(inputs, dy);
    const oracles = tf.grads(composite)(inputs, dy);
    gradients.forEach((gradient, i) => {
      assertEquals(gradient.shape, oracles[i].shape, name);
      assertClose(gradient.dataSync(), oracles[i].dataSync(), tolerance, `${name}, gradient ${i}`);
    });
  });
  assertEquals(tf.memory().numTensors, before, `${name} leaves tensors behind`);
}
