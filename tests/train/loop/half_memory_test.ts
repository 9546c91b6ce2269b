/** What a training step of 16 bits holds: less than one of float32, and what was estimated. */
import { assert } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import {
  benchBatch,
  type BenchDims,
  benchDims,
  benchModel,
} from "../../../src/bench/bench_work.ts";
import { benchOptimizer } from "../../../src/bench/step_bench.ts";
import { activeBackend } from "../../../src/device/backend.ts";
import type { Precision } from "../../../src/ops/half/precision.ts";
import { dryRunSFT } from "../../../src/train/sft/dry_run.ts";
import { lossGradients } from "../../../src/train/loop/gradients.ts";
import { peakTensorBytes } from "../../../src/train/dry_run/peak_tensor_bytes.ts";
import { loadTrainConfig, parseTrainArguments } from "../../../tasks/train.ts";
import { onEachBackend } from "../../generate/gpu_test_case.ts";
import { gpuTest } from "../../gpu_adapter.ts";

/** Of few channels and many tokens: nearly all that a step holds is activations. */
const DIMS: BenchDims = {
  config: {
    ...benchDims("tiny").config,
    vit_hidden_dim: 32,
    vit_inter_dim: 128,
    vit_n_heads: 2,
    lm_hidden_dim: 32,
    lm_inter_dim: 96,
    lm_n_heads: 4,
    lm_n_kv_heads: 2,
    lm_vocab_size: 100,
    lm_base_vocab_size: 34,
  },
  rows: 4,
  tokens: 40,
};

async function peakOfStep(precision: Precision, checkpointing: boolean): Promise<number> {
  const model = benchModel(DIMS);
  model.precision = precision;
  const batch = benchBatch(DIMS);
  const optimizer = benchOptimizer(model);
  try {
    const { peakBytes } = await peakTensorBytes(async () => {
      const { loss, gradients } = lossGradients(
        () => model.labelLogProbs(batch, { checkpointing })!.mean().neg() as tf.Scalar,
        optimizer.parameters,
      );
      await loss.data();
      tf.dispose([loss, ...gradients.values()]);
    });
    return peakBytes;
  } finally {
    batch.dispose();
    optimizer.dispose();
    model.dispose();
  }
}

onEachBackend(
  "the tensors of a 16-bit step take less than three quarters of float32's",
  async () => {
    const wide = await peakOfStep("float32", false);
    for (const precision of ["bf16", "fp16"] as const) {
      const half = await peakOfStep(precision, false);
      assert(half < 0.75 * wide, `${precision}: ${half} bytes, float32 ${wide}`);
      const again = await peakOfStep(precision, true);
      assert(again < 0.75 * half, `checkpointed ${precision}: ${again} bytes, else ${half}`);
    }
  },
  ["wasm", "webgpu"],
);

async function assertEstimate(backend: "wasm" | "webgpu", sets: readonly string[]): Promise<void> {
  const config = await loadTrainConfig(
    parseTrainArguments([
      ...["sft", "--config", "configs/shapes_sft.yaml"],
      ...sets.flatMap((set) => ["--set", set]),
    ]),
  );
  const { estimate, measured } = await dryRunSFT(config, { backend });
  activeBackend()?.dispose();
  const ratio = backend === "wasm"
    ? estimate.pass / measured.pass
    : estimate.gpu / (measured.gpu + estimate.moments);
  assert(ratio > 0.85 && ratio < 1.15, `${sets}: estimated / measured = ${ratio}`);
}

Deno.test("a dry run's estimate of a 16-bit step is within 15 % of what tensors hold", async () => {
  for (
    const sets of [
      ["training.bf16=true"],
      ["training.fp16=true", "model.use_lora=true"],
      ["training.bf16=true", "model.vlm_config.lm_inter_dim=768"],
    ]
  ) await assertEstimate("wasm", sets);
});

gpuTest("a dry run's estimate of a 16-bit step is within 15 % of what a GPU holds", async () => {
  for (
    const sets of [
      ["training.bf16=true"],
      ["training.fp16=true", "model.use_lora=true"],
      ["training.bf16=true", "model.vlm_config.lm_inter_dim=768"],
      ["training.bf16=true", "training.gradient_checkpointing=true"],
    ]
  ) await assertEstimate("webgpu", sets);
});
