/** Smaller micro-batches after a lack of memory: DPO's, and those of a device that reports it late. */
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { gpuErrors, recordGpuError } from "../../../src/device/gpu_errors.ts";
import { OutOfMemoryError } from "../../../src/device/out_of_memory.ts";
import { readBack } from "../../../src/device/read_back.ts";
import { wasmHeap } from "../../../src/device/wasm_heap.ts";
import { ALONE } from "../../../src/distributed/ranks.ts";
import { BatchFitter } from "../../../src/train/loop/batch_fitter.ts";
import { GradientAccumulator } from "../../../src/train/loop/gradients.ts";
import { StepAborted } from "../../../src/train/loop/training_method.ts";
import { gpuTest } from "../../gpu_adapter.ts";
import { tinyConfig, tinyRun } from "../dpo/tiny_dpo.ts";
import { largestDifference } from "../largest_difference.ts";
import { tinySFT } from "../sft/tiny_sft.ts";

Deno.test("DPO whose step runs out of memory has the gradient and metrics of the whole batch", async () => {
  const config = tinyConfig([
    "training.auto_find_batch_size=true",
    "training.per_device_train_batch_size=4",
    "training.gradient_accumulation_steps=1",
  ]);
  using whole = await tinyRun(config);
  const { gradients, loss, outcome: { metrics } } = await whole.gradients();
  using run = await tinyRun(config);
  const { method, optimizer: { parameters } } = run;
  const { wasm } = wasmHeap()!.backend;
  const malloc = wasm._malloc;
  for (const failing of [1, 40, 150]) {
    const start = method.state();
    const tensors = tf.memory().numTensors;
    const rowsBefore = method.state().microBatchSize ?? 4;
    const warnings: string[] = [];
    const warn = (text: string) => warnings.push(text);
    const fitter = new BatchFitter({ training: config.training, method, ranks: ALONE, warn });
    const accumulator = new GradientAccumulator();
    let count = 0;
    wasm._malloc = (bytes) => {
      if (++count === failing) throw new OutOfMemoryError("the wasm heap", bytes, 0, 0);
      return malloc(bytes);
    };
    const outcome = await fitter.step({ accumulator, parameters, step: 0 })
      .finally(() => wasm._malloc = malloc);
    assert(!(outcome instanceof StepAborted));
    const rows = Number(method.state().microBatchSize);
    if (rowsBefore !== 1) assertEquals([rows, warnings.length], [Number(rowsBefore) / 2, 1]);
    const values = await readBack([...accumulator.gradients.values()]);
    const own = new Map(
      [...accumulator.gradients.keys()].map((name, i) =>
        [name, values[i].slice() as Float32Array] as const
      ),
    );
    assert(largestDifference(own, gradients) < 1e-4);
    const [[total]] = await readBack(outcome.losses);
    assertAlmostEquals(total, loss, 1e-5);
    for (const [name, value] of Object.entries(metrics!)) {
      assertAlmostEquals(outcome.metrics![name], value, 1e-4 * Math.max(1, Math.abs(value)), name);
    }
    tf.dispose(outcome.losses);
    accumulator.reset();
    assertEquals(tf.memory().numTensors, tensors);
    if (rows === 1) break; // one row of memory that fails would end the run
    method.restore({ ...start, microBatchSize: rows });
  }
});

gpuTest("a GPU that reports a lack of memory goes on with smaller micro-batches", async () => {
  const settings = [
    "training.auto_find_batch_size=true",
    "training.per_device_train_batch_size=4",
    "training.logging_steps=1",
    "training.save_strategy=no",
  ];
  const losses = async (short: boolean) => {
    await using run = await tinySFT(settings, {
      backend: "webgpu",
      callbacks: [{
        onStepEnd({ step }) {
          if (short && step === 2) recordGpuError({ kind: "out-of-memory", message: "of a test" });
        },
      }],
    });
    const warnings: string[] = [];
    run.options.reporter.onWarning = (text) => void warnings.push(text);
    await run.trainer.train();
    return {
      losses: run.metrics().map(({ loss }) => loss),
      rows: run.method.state().microBatchSize,
      warnings,
    };
  };
  const [whole, found] = [await losses(false), await losses(true)];
  assertEquals([whole.rows, whole.warnings], [undefined, []]);
  assertEquals([found.rows, found.warnings.length], [2, 1]);
  assert(found.warnings[0].includes("memory ran out in step 3 "), found.warnings[0]);
  assertEquals(found.losses.length, 4);
  found.losses.forEach((loss, i) => assertAlmostEquals(loss, whole.losses[i], 1e-3));
  assertEquals(gpuErrors(), []);
});
