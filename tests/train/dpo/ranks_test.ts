import { assert, assertAlmostEquals } from "@std/assert";
import { DPO_LOSS_TYPES } from "../../../src/losses/dpo.ts";
import { onLocalRanks, sumGradients } from "../../distributed/local_ranks.ts";
import { largestDifference, tinyConfig, tinyRun } from "./tiny_dpo.ts";

const LOSSES: readonly [loss: string, ...settings: string[]][] = [
  ...DPO_LOSS_TYPES.map((type) => [type] as [string]),
  ["sigmoid, sft", "dpo.ld_alpha=0.3"],
  ["sigmoid, ipo", "dpo.use_weighting=true"],
  ["sigmoid, sft", "training.loss_reduction=micro_batch"],
];

for (const [loss, ...more] of LOSSES) {
  Deno.test(`DPO with ${[loss, ...more].join(", ")}: ranks have the gradient of one process`, async () => {
    const config = tinyConfig([`dpo.loss_type=[${loss}]`, "dpo.label_smoothing=0.1", ...more]);
    using alone = await tinyRun(config);
    const one = await alone.gradients();
    // Three micro-batches: with two ranks, one has two of them.
    for (const size of loss === "aot" ? [2, 4] : [2]) {
      const ranks = await onLocalRanks(size, () => tinyRun(config), (run) => run.gradients());
      const sum = sumGradients(ranks.map(({ gradients }) => gradients));
      assert(largestDifference(sum, one.gradients) < 1e-5);
      const total = ranks.reduce((sum, { loss }) => sum + loss, 0);
      assertAlmostEquals(total, one.loss, 1e-6 * Math.max(1, Math.abs(one.loss)));
      for (const [name, value] of Object.entries(one.outcome.metrics!)) {
        for (const { outcome } of ranks) {
          assertAlmostEquals(
            outcome.metrics![name],
            value,
            1e-6 * Math.max(1, Math.abs(value)),
            name,
          );
        }
      }
    }
  });
}
