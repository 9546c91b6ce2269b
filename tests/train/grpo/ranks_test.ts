import { assert, assertAlmostEquals } from "@std/assert";
import { GRPO_LOSS_TYPES } from "../../../src/losses/grpo_losses.ts";
import { onLocalRanks, sumGradients } from "../../distributed/local_ranks.ts";
import { largestDifference, tinyConfig, tinyRun } from "./tiny_grpo.ts";

/** Settings that a loss type needs beside its name. */
const NEEDS: Readonly<Record<string, readonly string[]>> = {
  sapo: ["grpo.sapo_temperature_pos=1", "grpo.sapo_temperature_neg=1.05"],
  luspo: ["grpo.importance_sampling_level=sequence"],
  cispo: ["grpo.epsilon_high=5"],
};

const FOUR = ["training.per_device_train_batch_size=1", "training.gradient_accumulation_steps=4"];

for (const lossType of GRPO_LOSS_TYPES) {
  for (const reduction of ["token", "micro_batch"]) {
    Deno.test(`${lossType}, ${reduction}: two ranks have the gradient of one process`, async () => {
      const config = tinyConfig([
        ...FOUR,
        `grpo.loss_type=${lossType}`,
        `training.loss_reduction=${reduction}`,
        "grpo.scale_rewards=batch",
        "grpo.top_entropy_quantile=0.5",
        "grpo.beta=0.05",
        "grpo.num_iterations=2",
        ...NEEDS[lossType] ?? [],
      ]);
      const steps = async (run: Awaited<ReturnType<typeof tinyRun>>) => [
        await run.gradients(0),
        await run.gradients(1), // on the same completions
      ];
      using alone = await tinyRun(config);
      const one = await steps(alone);
      const two = await onLocalRanks(2, () => tinyRun(config), steps);
      for (const step of [0, 1]) {
        const sum = sumGradients(two.map((rank) => rank[step].gradients));
        assert(sum.size > 0);
        assert(largestDifference(sum, one[step].gradients) < 1e-5);
        for (const [name, value] of Object.entries(one[step].outcome.metrics!)) {
          if (name.startsWith("time/")) continue;
          for (const rank of two) {
            assertAlmostEquals(rank[step].outcome.metrics![name], value, 1e-6, name);
          }
        }
      }
    });
  }
}
