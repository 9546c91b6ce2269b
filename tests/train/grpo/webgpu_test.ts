import { assert } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { gpuTest } from "../../gpu_adapter.ts";
import { largestDifference, tinyConfig, tinyRun } from "./tiny_grpo.ts";

for (
  const [what, overrides] of [
    ["on fresh completions", ["grpo.max_completion_length=3"]],
    ["with a KL term", ["grpo.max_completion_length=3", "grpo.beta=0.1"]],
  ] as const
) {
  gpuTest(`a step on a GPU has the gradient of wasm, ${what}`, async () => {
    const config = tinyConfig(["training.per_device_train_batch_size=2", ...overrides]);
    const gradients = async (backend: "wasm" | "webgpu") => {
      using run = await tinyRun(config, { backend });
      const { gradients, outcome } = await run.gradients(0);
      tf.dispose(outcome.losses);
      return { gradients, texts: run.completions.map(({ completion }) => completion) };
    };
    const wasm = await gradients("wasm");
    const gpu = await gradients("webgpu");
    assert(JSON.stringify(gpu.texts) === JSON.stringify(wasm.texts), "the same completions");
    assert(largestDifference(wasm.gradients, gpu.gradients) < 1e-3);
  });
}
