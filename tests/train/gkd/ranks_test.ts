import { assert, assertAlmostEquals } from "@std/assert";
import { onLocalRanks, sumGradients } from "../../distributed/local_ranks.ts";
import { largestDifference } from "../largest_difference.ts";
import { tinyConfig, type TinyGKD, tinyGKD } from "./tiny_gkd.ts";

const FOUR = ["training.per_device_train_batch_size=1", "training.gradient_accumulation_steps=4"];

for (
  const [what, settings] of [
    ["the data's answers", ["gkd.lmbda=0"]],
    ["the student's answers", ["gkd.lmbda=1"]],
    ["the teacher's answers, by micro-batch", [
      "gkd.lmbda=0",
      "gkd.seq_kd=true",
      "training.loss_reduction=micro_batch",
    ]],
  ] as const
) {
  Deno.test(`GKD on ${what}: two ranks have the gradient of one process`, async () => {
    const config = tinyConfig([...FOUR, ...settings]);
    const steps = async (run: TinyGKD) => [await run.gradients(0), await run.gradients(1)];
    using alone = await tinyGKD(config);
    const one = await steps(alone);
    const two = await onLocalRanks(2, () => tinyGKD(config), steps);
    for (const step of [0, 1]) {
      const sum = sumGradients(two.map((rank) => rank[step].gradients));
      assert(sum.size > 0);
      assert(largestDifference(sum, one[step].gradients) < 1e-5);
      const loss = two.reduce((total, rank) => total + rank[step].loss, 0);
      assertAlmostEquals(loss, one[step].loss, 1e-6);
      for (const [name, value] of Object.entries(one[step].outcome.metrics!)) {
        if (name.startsWith("time/")) continue;
        for (const rank of two) {
          assertAlmostEquals(rank[step].outcome.metrics![name], value, 1e-6, name);
        }
      }
    }
  });
}
