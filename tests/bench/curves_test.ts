import { assert, assertEquals } from "@std/assert";
import { type Curve, CURVE_PATHS, largestDifference, trainCurve } from "../../bench/curves.ts";
import { gpuIgnored, gpuMissing } from "../gpu_adapter.ts";

const SETTINGS = [
  "training.max_steps=6",
  "training.warmup_steps=0",
  "training.lr_scheduler_type=constant",
  "training.per_device_train_batch_size=16",
  "model.vlm_config.vit_n_blocks=1",
  "model.vlm_config.lm_n_blocks=1",
];

if (gpuIgnored) console.error(`the curve of webgpu is left out: ${gpuMissing}`);

Deno.test("training on webgpu, wasm and the BLAS gives the same losses and gradient norms", async () => {
  const curves: Curve[] = [];
  for (const path of CURVE_PATHS) {
    if (path.backend === "webgpu" && gpuIgnored) continue;
    const curve = await trainCurve(path, SETTINGS);
    assert(curve.backend.startsWith(path.backend), curve.backend);
    curves.push(curve);
  }
  const [{ losses, gradNorms }, ...others] = curves;
  assertEquals(losses.length, 6);
  assert(losses[5] < losses[0] - 0.1, `nothing was learnt: ${losses}`);
  for (const other of others) {
    const apart = largestDifference(losses, other.losses);
    assert(apart < 1e-4, `${other.backend}: losses differ by ${apart}`);
    const normsApart = largestDifference(gradNorms, other.gradNorms);
    assert(normsApart < 1e-2, `${other.backend}: gradient norms differ by ${normsApart}`);
  }
});
