import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { gpuTest } from "../../gpu_adapter.ts";
import { largestDifference } from "../largest_difference.ts";
import { tinyConfig, tinyGKD } from "./tiny_gkd.ts";

gpuTest("a GKD step on a GPU has the answers, loss and gradient of wasm", async () => {
  const config = tinyConfig([
    "training.per_device_train_batch_size=2",
    "training.gradient_accumulation_steps=1",
    "gkd.lmbda=1",
    "gkd.max_new_tokens=3",
    "gkd.beta=0.3",
  ]);
  const step = async (backend: "wasm" | "webgpu") => {
    using run = await tinyGKD(config, { backend });
    const done = await run.gradients(0);
    const answers = (run.method.describeLastBatch() as { answerIds: number[] }[][])
      .flat().map(({ answerIds }) => answerIds);
    return { ...done, answers };
  };
  const wasm = await step("wasm"), gpu = await step("webgpu");
  assertEquals(gpu.answers, wasm.answers);
  assertAlmostEquals(gpu.loss, wasm.loss, 1e-5);
  assert(largestDifference(wasm.gradients, gpu.gradients) < 1e-3);
});
