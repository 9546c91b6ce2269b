import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { activeBackend, initBackend } from "../../../src/device/backend.ts";
import { clearGpuErrors, gpuErrors, recordGpuError } from "../../../src/device/gpu_errors.ts";
import {
  GpuOutOfMemoryError,
  OutOfMemoryError,
  TensorTooLargeError,
} from "../../../src/device/out_of_memory.ts";
import { readBack } from "../../../src/device/read_back.ts";
import { explainFailure, StepFailedError } from "../../../src/train/loop/step_failure.ts";
import { gpuTest } from "../../gpu_adapter.ts";
import { tinySFT } from "../sft/tiny_sft.ts";

const WIDE = [
  "model.vlm_config.lm_hidden_dim=16",
  "model.vlm_config.lm_n_heads=2",
  "model.vlm_config.lm_n_kv_heads=1",
];

Deno.test("if the wasm heap is full, the run ends with the step, the batch and the checkpoint", async () => {
  let steps = 0;
  await using run = await tinySFT(["training.max_steps=8", "training.save_steps=2"], {
    callbacks: [{
      onStepEnd({ step }) {
        steps = step;
        if (step === 3) tf.tidy(() => tf.add(tf.zeros([2 ** 30]), 1));
      },
    }],
  });
  const error = await assertRejects(() => run.trainer.train(), StepFailedError);
  assertEquals(steps, 3);
  assert(error.cause instanceof OutOfMemoryError);
  const { message } = error;
  assertStringIncludes(
    message,
    "Training stopped at step 4: Cannot allocate 4096.0 MiB on the wasm",
  );
  assertStringIncludes(message, "Lower per_device_train_batch_size");
  assert(
    /A micro-batch of the step has \d rows? with \d+ tokens and \d tiles?; it is in/.test(message),
  );
  assertStringIncludes(
    message,
    `is whole in ${run.folder}/checkpoint-2: go on with the same command`,
  );
  const kept = JSON.parse(await Deno.readTextFile(`${run.folder}/failed-step-4.json`));
  assertEquals(kept.batch[0].length, 2);
});

Deno.test("an error of another kind is not changed", async () => {
  const method = { describeLastBatch: () => null, lastBatchSize: null };
  const error = new Error("of another kind");
  assert(await explainFailure(error, { outputDir: "", step: 1, method }) === error);
});

/** A tensor of more bytes would take too much memory: SwiftShader binds 1 GiB and cannot allocate it. */
const MOST_BYTES_HERE = 2 ** 28;

gpuTest(
  "activations larger than the adapter binds are refused with shape, bytes, limit and batch",
  async () => {
    const { device } = await initBackend({ backend: "webgpu" });
    const limit = Math.min(device!.limits.maxStorageBufferBindingSize, 2 ** 31);
    // As wide as it takes for 36 tokens to be too large.
    const width = Math.ceil(limit / 4 / 36 / 16) * 16;
    const sets = [
      ...WIDE,
      `model.vlm_config.lm_inter_dim=${width}`,
      "training.per_device_train_batch_size=16",
    ];
    await using run = await tinySFT(sets, { backend: "webgpu" });
    const error = await assertRejects(() => run.trainer.train(), StepFailedError);
    assert(error.cause instanceof TensorTooLargeError, error.message);
    const { shape, bytes, limitBytes } = error.cause;
    assertEquals(bytes, 4 * shape.reduce((a, b) => a * b));
    assert(bytes > limitBytes && shape.includes(width));
    assertStringIncludes(
      error.message,
      `Training stopped at step 1: Cannot put a tensor [${shape.join(", ")}]`,
    );
    assertStringIncludes(error.message, "(maxStorageBufferBindingSize)");
    assert(/A micro-batch of the step has 4 rows with \d+ tokens and 4 tiles/.test(error.message));
    assertStringIncludes(error.message, "There is no checkpoint yet");
    assertEquals(gpuErrors(), []);
  },
);

gpuTest(
  "a weight larger than the adapter binds is refused, and others that are there stay right",
  async () => {
    const backend = await initBackend({ backend: "webgpu" });
    const limit = backend.device!.limits.maxStorageBufferBindingSize;
    const small = tf.tensor1d(Float32Array.from({ length: 5000 }, (_, i) => i));
    let message = "";
    try {
      tf.tidy(() => tf.zeros([limit / 4 + 1]).add(1));
    } catch (error) {
      message = String(error);
      assert(error instanceof TensorTooLargeError);
    }
    assertStringIncludes(message, `Cannot put a tensor [${limit / 4 + 1}]`);
    const [values] = await readBack([tf.tidy(() => small.add(1))]);
    assertEquals(values[4999], 5000);
    small.dispose();
    if (limit <= MOST_BYTES_HERE) {
      const whole = tf.tidy(() => tf.zeros([limit / 4]).add(2));
      const part = tf.tidy(() => whole.slice(limit / 4 - 5000, 5000).sum());
      assertEquals([...await part.data()], [10000]);
      tf.dispose([whole, part]);
    }
    assertEquals(gpuErrors(), []);
    backend.dispose();
  },
);

gpuTest("tensors that together are larger than the adapter binds are read back whole", async () => {
  const backend = await initBackend({ backend: "webgpu" });
  const { maxStorageBufferBindingSize: limit } = backend.device!.limits;
  if (limit > MOST_BYTES_HERE) return backend.dispose();
  const size = limit / 16 + 4;
  const tensors = Array.from({ length: 5 }, (_, i) => tf.tidy(() => tf.fill([size], i).add(1)));
  tensors.push(tf.tidy(() => tf.fill([3], 7).add(1)));
  const values = await readBack(tensors);
  assertEquals(values.map((array) => array.length), [...Array(5).fill(size), 3]);
  values.forEach((array, i) => assertEquals(array.at(-1), i === 5 ? 8 : i + 1));
  tf.dispose(tensors);
  assertEquals(gpuErrors(), []);
  backend.dispose();
});

for (
  const [kind, cause, words] of [
    ["out-of-memory", "GpuOutOfMemoryError", "The GPU is out of memory: "],
    ["validation", "GpuReportedError", "The GPU device reported 2 error(s)"],
  ]
) {
  gpuTest(
    `an ${kind} error ends the run before its update, and names the batch`,
    async () => {
      const before: Map<string, Float32Array>[] = [];
      await using run = await tinySFT([...WIDE, "training.max_steps=4", "training.save_steps=1"], {
        backend: "webgpu",
        callbacks: [{
          async onStepEnd({ step }) {
            if (step !== 2) return;
            before.push(await run.weights());
            recordGpuError({ kind, message: "not enough memory left" });
            recordGpuError({ kind: "validation", message: "a buffer is invalid" });
          },
        }],
      });
      const error = await assertRejects(() => run.trainer.train(), StepFailedError);
      assert(error.cause instanceof Error);
      assertEquals(error.cause.name, cause);
      if (error.cause instanceof GpuOutOfMemoryError) assert(error.cause.usedBytes > 0);
      assertStringIncludes(error.message, words);
      assertStringIncludes(error.message, "not enough memory left");
      assertStringIncludes(error.message, "A micro-batch of the step has 2 rows with");
      assertStringIncludes(error.message, `is whole in ${run.folder}/checkpoint-1`);
      assertEquals(
        [...Deno.readDirSync(run.folder)].some(({ name }) => /tmp|ckpt.*2/.test(name)),
        false,
      );
      clearGpuErrors();
      assertEquals(await run.weights(), before[0]);
      activeBackend()?.dispose();
    },
  );
}
