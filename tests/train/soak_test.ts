/**
 * Hundreds of steps leave memory where it was after step 5. On WebGPU as many steps as fit a
 * minute; NANOVLM_SOAK_STEPS sets how many instead.
 */
import { assert, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { assertNoGpuErrors, clearGpuErrors } from "../../src/device/gpu_errors.ts";
import { gpuBytes } from "../../src/device/memory.ts";
import { gpuTest } from "../gpu_adapter.ts";
import { LORA, type TinyOptions, tinySFT } from "./sft/tiny_sft.ts";

const asked = Deno.env.get("NANOVLM_SOAK_STEPS");
const BUDGET_MS = 60_000;

/** The smallest model that has every part. */
const SMALLEST = [
  "model.vlm_config.vit_hidden_dim=16",
  "model.vlm_config.vit_inter_dim=32",
  "model.vlm_config.vit_n_heads=2",
  "model.vlm_config.lm_hidden_dim=16",
  "model.vlm_config.lm_inter_dim=32",
  "model.vlm_config.lm_n_heads=2",
  "model.vlm_config.lm_n_kv_heads=1",
];

interface Level {
  step: number;
  tensors: number;
  bytes: number;
  gpuBytes: number;
  rssMiB: number;
}

/**
 * Waits for the device, which frees a buffer only after the work that uses it. Large enough that
 * tfjs does not compute it on the CPU.
 */
async function settle(): Promise<void> {
  const ones = tf.tidy(() => tf.zeros([4096]).add(1));
  await ones.data();
  ones.dispose();
}

const level = (step: number): Level => {
  const { numTensors, numBytes } = tf.memory();
  const rssMiB = Math.round(Deno.memoryUsage().rss / 2 ** 20);
  return { step, tensors: numTensors, bytes: numBytes, gpuBytes: gpuBytes(), rssMiB };
};

/** Trains, and compares tensors and bytes after each step with those after step 5. */
async function soak(
  name: string,
  steps: number,
  settings: readonly string[],
  options: TinyOptions & { budgetMs?: number } = {},
): Promise<void> {
  const levels: Level[] = [];
  const began = performance.now();
  const { budgetMs = Infinity } = options;
  await using run = await tinySFT([...settings, `training.max_steps=${steps}`], {
    ...options,
    callbacks: [{
      async onStepEnd({ step }) {
        if (options.backend === "webgpu") await settle();
        levels.push(level(step));
        if (performance.now() - began > budgetMs && step > 20) return "stop";
      },
    }],
  });
  await run.trainer.train();
  const first = levels[4], last = levels.at(-1)!;
  for (const { step, tensors, bytes, gpuBytes } of levels.slice(4)) {
    assertEquals(
      { step, tensors, bytes, gpuBytes },
      { step, tensors: first.tensors, bytes: first.bytes, gpuBytes: first.gpuBytes },
    );
  }
  const seconds = ((performance.now() - began) / 1000).toFixed(0);
  console.log(
    `${name}: ${last.step} steps in ${seconds} s; after step 5 and at the end ${last.tensors} ` +
      `tensors, ${last.bytes} bytes, ${last.gpuBytes} bytes on the GPU; resident ` +
      `${first.rssMiB} and ${last.rssMiB} MiB`,
  );
  assert(last.step >= 20);
}

Deno.test("500 steps on wasm leave as many tensors and bytes as after step 5", async () => {
  await soak("wasm", 500, ["training.save_steps=250", "training.logging_steps=10"]);
});

Deno.test("500 steps with LoRA, dropout, checkpointing, accumulation, evaluation and saving leave no tensor", async () => {
  await soak("wasm with LoRA", 500, [
    ...LORA,
    "training.gradient_checkpointing=true",
    "training.gradient_accumulation_steps=2",
    "training.eval_strategy=steps",
    "training.eval_steps=50",
    "training.save_steps=50",
    "training.save_total_limit=1",
    "training.logging_steps=10",
  ]);
});

gpuTest("steps on WebGPU leave GPU bytes where they were after step 5", async () => {
  clearGpuErrors();
  const steps = asked === undefined ? 500 : Number(asked);
  const budgetMs = asked === undefined ? BUDGET_MS : Infinity;
  const settings = [...SMALLEST, "training.save_strategy=no", "training.logging_steps=10"];
  await soak("webgpu", steps, settings, { backend: "webgpu", budgetMs });
  assertNoGpuErrors();
});

Deno.test({
  name: "2,000 quick steps on wasm leave tensors where they were (with NANOVLM_SOAK_STEPS)",
  ignore: asked === undefined,
  async fn() {
    await soak("wasm, smallest model", 2000, [
      ...SMALLEST,
      "training.save_strategy=no",
      "training.logging_steps=100",
    ]);
  },
});
