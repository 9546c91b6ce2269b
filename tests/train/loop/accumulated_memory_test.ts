/** What a step of several micro-batches holds: gradients once, as was estimated. */
import { assert } from "@std/assert";
import type * as tf from "@tensorflow/tfjs";
import {
  benchBatch,
  type BenchDims,
  benchDims,
  benchModel,
} from "../../../src/bench/bench_work.ts";
import { benchOptimizer } from "../../../src/bench/step_bench.ts";
import { activeBackend } from "../../../src/device/backend.ts";
import { GradientAccumulator } from "../../../src/train/loop/gradients.ts";
import { estimateStepMemory } from "../../../src/train/dry_run/memory_estimate.ts";
import { sizeOf, stepMemoryOptions } from "../../../src/train/dry_run/step_memory_options.ts";
import { peakTensorBytes } from "../../../src/train/dry_run/peak_tensor_bytes.ts";
import { onEachBackend } from "../../generate/gpu_test_case.ts";

/** Few tokens: most of what a step holds is gradients. */
const DIMS: BenchDims = { ...benchDims("tiny"), rows: 1, tokens: 24 };

onEachBackend(
  "a second micro-batch adds to the first one's gradients, as the estimate says",
  async () => {
    const model = benchModel(DIMS);
    const batch = benchBatch(DIMS);
    const optimizer = benchOptimizer(model);
    const accumulator = new GradientAccumulator();
    const peakOf = async (microBatches: number) => {
      const { peakBytes } = await peakTensorBytes(async () => {
        for (let k = 0; k < microBatches; k++) {
          const loss = await accumulator.addLoss(
            () => model.labelLogProbs(batch)!.mean().neg() as tf.Scalar,
            optimizer.parameters,
          );
          await loss.data();
          loss.dispose();
        }
      });
      accumulator.reset();
      return peakBytes;
    };
    try {
      const gradients = 4 * sizeOf(optimizer.parameters.values());
      const three = await peakOf(3);
      assert(three < 1.75 * gradients, `${three} bytes, ${gradients} of gradients`);
      const settings = stepMemoryOptions(
        model,
        optimizer.parameters,
        { gradient_accumulation_steps: 3, gradient_checkpointing: false },
        activeBackend()!,
      );
      const size = { rows: DIMS.rows, tokens: DIMS.tokens, tiles: DIMS.rows };
      const ratio = estimateStepMemory(model.config, size, settings).pass / three;
      assert(ratio > 0.85 && ratio < 1.15, `estimated / measured = ${ratio}`);
    } finally {
      batch.dispose();
      optimizer.dispose();
      model.dispose();
    }
  },
  ["wasm", "webgpu"],
);
