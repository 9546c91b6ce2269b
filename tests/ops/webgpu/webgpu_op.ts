/** How WGSL kernels are compared with their composites. */
import { assert, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { type ActiveBackend, initBackend } from "../../../src/device/backend.ts";
import { assertNoGpuErrors, clearGpuErrors } from "../../../src/device/gpu_errors.ts";
import { readBack } from "../../../src/device/read_back.ts";
import { withoutGpuKernels } from "../../../src/ops/webgpu/runtime/enabled.ts";
import { fusedKernels } from "../../../src/ops/fused_kernels.ts";
import type { FusedKernels } from "../../../src/ops/kernels.ts";
import { describeDevice } from "../../../src/ops/webgpu/runtime/launch.ts";
import { gpuTest } from "../../gpu_adapter.ts";
import { assertClose } from "../assert_close.ts";
import { type Op, randomTensor } from "../random_tensor.ts";

/** The kernels of this backend, with those that others lack. */
export type GpuKernels =
  & FusedKernels
  & Required<Pick<FusedKernels, "gatherPackedRowsAt" | "rounding" | "sampleRows">>;

/** The two families of kernels: tiles in workgroup memory, and textures for software adapters. */
const FAMILIES = [["textures", true], ["tiles", false]] as const;

/**
 * Runs `body` with the kernels of both families, whatever the adapter is.
 *
 * @param buffers that a shader may bind; default: what the adapter offers
 */
export function kernelTest(
  name: string,
  body: (k: GpuKernels) => Promise<void>,
  buffers?: number,
): void {
  const bound = buffers === undefined ? "" : `, ${buffers} buffers`;
  for (const [family, isFallback] of FAMILIES) {
    gpuTest(`webgpu, ${family}${bound}: ${name}`, async () => {
      clearGpuErrors();
      const backend: ActiveBackend = await initBackend({ backend: "webgpu" });
      try {
        describeDevice(backend.device!, isFallback, buffers);
        const kernels = fusedKernels();
        assert(kernels !== null);
        const before = tf.memory().numTensors;
        await body(kernels as GpuKernels);
        assertEquals(tf.memory().numTensors, before, "tensors are left behind");
        assertNoGpuErrors();
      } finally {
        backend.dispose();
        await initBackend({ backend: "wasm" });
      }
    });
  }
}

/** Compares values and the gradients of every input, for a random gradient of the output. */
export async function assertSameOp(
  name: string,
  fused: Op,
  composite: Op,
  inputs: tf.Tensor[],
  tolerance = 2e-5,
): Promise<void> {
  const run = (op: Op): tf.Tensor[] =>
    tf.tidy(() => {
      const y = op(...inputs);
      return [y, ...tf.grads(op)(inputs, randomTensor(y.shape, 99))];
    });
  const got = run(fused);
  const oracles = await withoutGpuKernels(() => Promise.resolve(run(composite)));
  assertEquals(got.map(({ shape }) => shape), oracles.map(({ shape }) => shape), name);
  const results = [...got, ...oracles];
  const values = await readBack(results);
  tf.dispose([...results, ...inputs]);
  const half = values.length / 2;
  assert(values[0].some((value) => value !== 0), `${name} gives zeros`);
  for (let i = 0; i < half; i++) {
    const what = i === 0 ? name : `${name}, gradient ${i - 1}`;
    assertClose(values[i], values[half + i], tolerance, what);
  }
}
