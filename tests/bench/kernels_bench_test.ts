import { assert, assertEquals, assertRejects } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { formatBenchReport } from "../../src/bench/bench_table.ts";
import { type BenchDims, benchDims, benchModel } from "../../src/bench/bench_work.ts";
import { benchKernels, kernelTable, TYPICAL_GPU } from "../../src/bench/kernels_bench.ts";
import { runBench } from "../../src/bench/run_bench.ts";
import { benchOptimizer, StepWork } from "../../src/bench/step_bench.ts";
import { initBackend } from "../../src/device/backend.ts";
import type { OptimizerName } from "../../src/config/schema/optimizer/optimizer_names.ts";
import type { Precision } from "../../src/ops/half/precision.ts";
import { withoutGpuKernels } from "../../src/ops/webgpu/runtime/enabled.ts";
import { currentLaunch } from "../../src/ops/webgpu/runtime/launch.ts";
import { gpuTest } from "../gpu_adapter.ts";

/**
 * The tiny model's dims, less of each. tfjs's own matMul(x, w, false, true) on webgpu is wrong for few
 * rows and a long inner dimension (its MatMulSplitKProgram), hence the pixel shuffle.
 */
const SMALL: BenchDims = {
  config: {
    ...benchDims("tiny").config,
    vit_n_blocks: 1,
    lm_n_blocks: 1,
    mp_pixel_shuffle_factor: 2,
    mp_image_token_length: 16,
  },
  rows: 2,
  tokens: 24,
};

const request = {
  model: "tiny",
  reps: 1,
  rounds: 1,
  clock: "wall",
  lora: true,
  sharePrefix: true,
  against: null,
  stock: false,
  rates: TYPICAL_GPU,
} as const;

Deno.test("a dispatch takes as long as its bytes, its operations or its launch, kernels add up", () => {
  const rates = { bandwidth: 100, tflops: 2, launchUs: 10 };
  const { rows, total } = kernelTable([
    { kernel: "product nt vec4<f32> BF16 tiles 1 bias", bytes: 1e6, flops: 1e9 }, // 0.5 ms
    { kernel: "product nt vec4<f32> BF16 tiles 4 bias", bytes: 1e8, flops: 1e9 }, // 1 ms
    { kernel: "attention dq D64 texture 8 layout", bytes: 10, flops: 10 }, // 0.01 ms
  ], rates);
  assertEquals(rows, [
    {
      ...{ kernel: "product nt BF16 bias", dispatches: 2, megabytes: 101, gflop: 2, ms: 1.5 },
      limit: "bandwidth",
    },
    {
      ...{ kernel: "attention dq layout", dispatches: 1, megabytes: 1e-5, gflop: 1e-8, ms: 0.01 },
      limit: "launch",
    },
  ]);
  assertEquals([total.dispatches, total.ms, total.limit], [3, 1.51, "bandwidth"]);
});

gpuTest("bench kernels counts a step's dispatches, and leaves no tensor and no trace", async () => {
  const backend = await initBackend({ backend: "webgpu" });
  const before = tf.memory().numTensors;
  const report = await runBench({ ...request, what: ["kernels"] });
  const { step, lora_step } = report.kernels!;
  const model = benchModel(benchDims("tiny"));
  const optimizer = benchOptimizer(model);
  const dispatches = (name: string) => step.rows.find(({ kernel }) => kernel === name)?.dispatches;
  // Four buffers a parameter; those whose sizes are multiples of four go apart.
  const perLaunch = Math.floor(currentLaunch().bindableBuffers / 4);
  const vectors = [...optimizer.parameters.values()].filter(({ size }) => size % 4 === 0).length;
  const launches = [vectors, optimizer.parameters.size - vectors]
    .reduce((sum, count) => sum + Math.ceil(count / perLaunch), 0);
  assertEquals(dispatches("adamw"), launches);
  // Products of the forward pass, and twice as many behind it; all logits twice.
  const products = step.rows.filter(({ kernel }) => kernel.startsWith("product"));
  const gflop = products.reduce((sum, row) => sum + row.gflop, 0);
  assert(gflop > 15 && gflop < 25, `${gflop} GFLOP`);
  assert(lora_step!.total.gflop < 0.8 * step.total.gflop);
  assert(lora_step!.rows.some(({ kernel }) => kernel.includes("BF16")));
  assertEquals(step.rows.reduce((sum, row) => sum + row.dispatches, 0), step.total.dispatches);
  assertEquals(JSON.parse(JSON.stringify(report)), report);
  assert(formatBenchReport(report).includes("kernel of a LoRA step"));
  optimizer.dispose();
  model.dispose();
  assertEquals(tf.memory().numTensors, before);
  assertEquals(currentLaunch().stopCounting(), []);
  backend.dispose();
  await initBackend({ backend: "wasm" });
});

gpuTest("a 16-bit step moves fewer bytes than float32's, in no more dispatches", async () => {
  const backend = await initBackend({ backend: "webgpu" });
  const count = async (precision: Precision, optimizer?: OptimizerName) => {
    const dims = benchDims("tiny");
    const { step } = await benchKernels(dims, TYPICAL_GPU, { lora: false, precision, optimizer });
    return step.total;
  };
  const wide = await count("float32");
  for (const precision of ["bf16", "fp16"] as const) {
    const { megabytes, dispatches } = await count(precision);
    assert(megabytes < 0.7 * wide.megabytes, `${precision}: ${megabytes} of ${wide.megabytes} MB`);
    assert(dispatches <= wide.dispatches, `${precision}: ${dispatches} of ${wide.dispatches}`);
    const eight = await count(precision, "adamw_bnb_8bit");
    assert(eight.megabytes < megabytes, `${precision}: ${eight.megabytes} and ${megabytes} MB`);
  }
  backend.dispose();
  await initBackend({ backend: "wasm" });
});

gpuTest(
  "the step on stock tfjs dispatches no kernel of ours, and computes the same loss",
  async () => {
    const backend = await initBackend({ backend: "webgpu" });
    const model = benchModel(SMALL);
    const work = new StepWork(model, SMALL);
    const launch = currentLaunch();
    const step = async () => {
      launch.startCounting();
      const loss = await work.forward().data();
      (await work.step()).dispose();
      const ours = launch.stopCounting().filter(({ kernel }) => !kernel.startsWith("tfjs"));
      return { loss: loss[0], ours: ours.length };
    };
    const losses = await work.forward().data();
    const stock = await withoutGpuKernels(step);
    assertEquals(stock.ours, 0);
    assert(Math.abs(stock.loss - losses[0]) < 1e-4, `${stock.loss} and ${losses[0]}`);
    const own = await step();
    assert(own.ours > 100);
    assert(own.loss < losses[0]);
    work.dispose();
    model.dispose();
    backend.dispose();
    await initBackend({ backend: "wasm" });
  },
);

Deno.test("kernels of a GPU and stock tfjs need webgpu", async () => {
  await initBackend({ backend: "wasm" });
  await assertRejects(
    () => benchKernels(SMALL, TYPICAL_GPU, { lora: false }),
    Error,
    "--backend webgpu",
  );
  const stock = runBench({ ...request, what: ["step"], stock: true });
  await assertRejects(() => stock, Error, "--backend webgpu");
});
