/** What is counted of the kernels on WebGPU, against arithmetic by hand. */
import { assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { initBackend } from "../../../src/device/backend.ts";
import { assertNoGpuErrors, clearGpuErrors } from "../../../src/device/gpu_errors.ts";
import { readBack } from "../../../src/device/read_back.ts";
import { attention } from "../../../src/ops/attention/attention.ts";
import { AttentionLayout } from "../../../src/ops/attention/attention_layout.ts";
import { embedding } from "../../../src/ops/row_ops.ts";
import { linear } from "../../../src/ops/linear.ts";
import {
  type CountedDispatch,
  tensorBytes,
} from "../../../src/ops/webgpu/runtime/dispatch_counts.ts";
import { currentLaunch } from "../../../src/ops/webgpu/runtime/launch.ts";
import { gpuTest } from "../../gpu_adapter.ts";

// M rows, N outputs, K inputs
const M = 24, N = 12, K = 8;

async function onWebgpu(body: () => Promise<void>): Promise<void> {
  clearGpuErrors();
  const backend = await initBackend({ backend: "webgpu" });
  try {
    await body();
    assertNoGpuErrors();
  } finally {
    backend.dispose();
    await initBackend({ backend: "wasm" });
  }
}

/** What `run` dispatches. */
function count(run: () => tf.Tensor, asHardware = false): readonly CountedDispatch[] {
  const launch = currentLaunch();
  launch.startCounting({ asHardware });
  run().dispose();
  return launch.stopCounting();
}

const total = (dispatches: readonly CountedDispatch[], what: "bytes" | "flops"): number =>
  dispatches.reduce((sum, dispatch) => sum + dispatch[what], 0);

gpuTest(
  "a product counts the operands that it reads, not the texture that holds them",
  () =>
    onWebgpu(() => {
      const [x, w, b] = [tf.ones([M, K]), tf.ones([N, K]), tf.ones([N])];
      // The slots keep the size of the largest operand so far.
      tf.dispose(linear(tf.ones([4096, 256]), tf.ones([512, 256])));
      const found = count(() => linear(x, w, b)).filter(({ kernel }) =>
        kernel.startsWith("product")
      );
      const bytes = [x, w, b, { shape: [M, N] }].map(tensorBytes).reduce((a, b) => a + b);
      assertEquals(found.map(({ bytes, flops }) => ({ bytes, flops })), [{
        bytes,
        flops: 2 * M * N * K,
      }]);
      return Promise.resolve();
    }),
);

gpuTest(
  "an embedding counts the rows that it takes, causal attention the pairs that it sees",
  () =>
    onWebgpu(() => {
      const gathered = count(() => embedding(tf.ones([1000, 16]), new Int32Array(5)));
      assertEquals(total(gathered, "bytes"), 4 * (2 * 5 * 16 + 5));
      const [B, T, H, D] = [2, 6, 2, 8];
      const heads = tf.ones<tf.Rank.R4>([B, T, H, D]);
      const layout = AttentionLayout.causal(Int32Array.of(0, 2), T);
      const pairs = 6 * 7 / 2 + 4 * 5 / 2;
      const flops = total(count(() => attention(heads, heads, heads, layout)), "flops");
      assertEquals(flops, 4 * pairs * H * D);
      layout.dispose();
      return Promise.resolve();
    }),
);

gpuTest("tfjs's own dispatches are counted too", () =>
  onWebgpu(() => {
    const x = tf.ones([100]);
    tf.dispose(x.add(1)); // on the device from here on
    const launch = currentLaunch();
    const big = tf.ones([64, 64]);
    launch.startCounting();
    tf.dispose(big.sin());
    assertEquals(launch.stopCounting(), [{ kernel: "tfjs UnaryOp", bytes: 8 * 64 * 64, flops: 0 }]);
    tf.dispose(big.sin());
    assertEquals(launch.stopCounting(), []);
    return Promise.resolve();
  }));

gpuTest(
  "kernels of hardware are counted without being run, and then all is as before",
  () =>
    onWebgpu(async () => {
      const [x, w] = [tf.ones([M, K]), tf.ones([N, K])];
      const hardware = count(() => linear(x, w), true);
      assertEquals(hardware.map(({ kernel }) => kernel.includes("tiles")), [true]);
      const own = count(() => linear(x, w));
      assertEquals(total(hardware, "flops"), total(own, "flops"));
      const [values] = await readBack([linear(x, w)]);
      assertEquals(values, new Float32Array(M * N).fill(K));
    }),
);
