import { assertAlmostEquals, assertEquals } from "@std/assert";
import { withMpirun } from "../../distributed/mpirun.ts";
import { RankRuns, type Settings } from "./rank_runs.ts";

const OPTIMIZERS: readonly (readonly [optim: string, settings: Settings])[] = [
  // Rank 0 alone evaluates and saves the averages.
  ["schedule_free_adamw", { "training.eval_strategy": "steps", "training.eval_steps": 2 }],
  ["lion_8bit", { "training.optim_args": { min_8bit_size: 64 } }],
  ["muon", {}],
];

for (const [optim, more] of OPTIMIZERS) {
  Deno.test(
    withMpirun(
      `${optim}: two ranks have the losses of one, and resume to the same bytes`,
      async () => {
        await using runs = await RankRuns.open();
        const settings = {
          ...more,
          "training.optim": optim,
          "training.max_steps": 4,
          "training.save_strategy": "steps",
          "training.save_steps": 2,
        };
        const batch = "training.per_device_train_batch_size";
        const train = async (name: string, ranks: number, resume: string[] = []) => {
          const all = { ...settings, [batch]: 4 / ranks };
          assertEquals((await runs.train(["sft", name, ranks], all, resume)).code, 0, name);
          return {
            losses: await runs.metric(name, "loss"),
            evaluations: await runs.metric(name, "eval_loss"),
            weights: await Deno.readFile(`${runs.folder}/${name}/final/model.safetensors`),
          };
        };
        const one = await train("one", 1), two = await train("two", 2);
        assertEquals(one.losses.length, 4);
        for (const key of ["losses", "evaluations"] as const) {
          two[key].forEach((loss, i) => assertAlmostEquals(loss, one[key][i], 2e-6 * one[key][i]));
        }
        const rest = await train("rest", 2, ["--resume", `${runs.folder}/two/checkpoint-2`]);
        assertEquals(rest.weights, two.weights);
      },
    ),
  );
}
