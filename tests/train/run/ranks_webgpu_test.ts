import { assertAlmostEquals, assertEquals } from "@std/assert";
import { noMpirun, withMpirun } from "../../distributed/mpirun.ts";
import { gpuTest } from "../../gpu_adapter.ts";
import { RankRuns } from "./rank_runs.ts";

const NAME = "on WebGPU, two ranks have the losses of one process";

async function compare(): Promise<void> {
  await using runs = await RankRuns.open("webgpu");
  for (const ranks of [1, 2]) {
    const { code } = await runs.train(["sft", String(ranks), ranks], {
      "training.max_steps": 5,
      "training.per_device_train_batch_size": 2,
      "training.gradient_accumulation_steps": 2 / ranks,
    });
    assertEquals(code, 0);
  }
  const one = await runs.metric("1", "loss"), two = await runs.metric("2", "loss");
  assertEquals(two.length, 5);
  one.forEach((loss, i) => assertAlmostEquals(two[i], loss, 1e-6 * loss));
}

if (noMpirun === null) gpuTest(NAME, compare);
else Deno.test(withMpirun(NAME, compare));
