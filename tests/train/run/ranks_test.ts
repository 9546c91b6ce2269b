import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { withMpirun } from "../../distributed/mpirun.ts";
import { RankRuns, type Settings } from "./rank_runs.ts";

const BATCH = "training.per_device_train_batch_size";

/** Trains with 8 examples a step in one process and on some ranks, and compares every step. */
async function compare(
  trainer: string,
  ranks: number,
  settings: Settings,
  { metrics, tolerance = 1e-6 }: {
    readonly metrics: readonly string[];
    readonly tolerance?: number;
  },
): Promise<void> {
  await using runs = await RankRuns.open();
  if (trainer === "gkd") {
    const short = { "training.max_steps": 4, [BATCH]: 8 };
    assertEquals((await runs.train(["sft", "teacher", 1], short)).code, 0);
  }
  const perRound = settings["grpo.steps_per_generation"];
  for (const [name, size] of [["one", 1], ["many", ranks]] as const) {
    const { code } = await runs.train([trainer, name, size], {
      ...settings,
      [BATCH]: 2,
      "training.gradient_accumulation_steps": 4 / size,
      ...perRound ? { "grpo.steps_per_generation": Number(perRound) / size } : {},
    });
    assertEquals(code, 0);
  }
  for (const metric of metrics) {
    const one = await runs.metric("one", metric), many = await runs.metric("many", metric);
    assert(one.length > 0, metric);
    assert(one.some((value) => value !== 0), metric);
    assertEquals(many.length, one.length, metric);
    // Losses and margins near 0 are differences of log-probabilities, whose size is 1 and more.
    one.forEach((value, i) =>
      assertAlmostEquals(
        many[i],
        value,
        tolerance * Math.max(Math.abs(value), 1),
        `${metric} ${i}`,
      )
    );
  }
}

Deno.test(withMpirun("SFT on two ranks has the losses of one process", async () => {
  await compare("sft", 2, { "training.max_steps": 50 }, { metrics: ["loss", "epoch"] });
}));

Deno.test(withMpirun("SFT on four ranks has the losses of one process, over an epoch", async () => {
  await compare("sft", 4, {
    "training.num_train_epochs": 2,
    "dataset.max_samples": 5, // turns of 5 pictures: the last step of an epoch is not full
  }, { metrics: ["loss", "epoch"] });
}));

Deno.test(withMpirun("SFT with gradients in bfloat16 stays close to one process", async () => {
  await compare("sft", 2, {
    "training.max_steps": 20,
    "training.gradient_compression": "bf16",
    // Every checkpoint compares the bits of all ranks.
    "training.save_strategy": "steps",
    "training.save_steps": 5,
  }, { metrics: ["loss", "grad_norm"], tolerance: 1e-2 });
}));

for (const trainer of ["sft", "dpo", "grpo"]) {
  const name = `${trainer}: gradients that are sent during the backward pass give the same bytes`;
  Deno.test(withMpirun(name, async () => {
    await using runs = await RankRuns.open();
    for (const overlap of [false, true]) {
      const { code } = await runs.train([trainer, String(overlap), 2], {
        "training.max_steps": 6,
        [BATCH]: 2,
        "training.gradient_accumulation_steps": 2,
        "training.gradient_overlap": overlap,
      });
      assertEquals(code, 0);
    }
    const [without, with_] = await Promise.all(
      ["false", "true"].map((run) =>
        Deno.readFile(`${runs.folder}/${run}/final/model.safetensors`)
      ),
    );
    assertEquals(with_, without);
    const seconds = await runs.metric("true", "ranks/reduce_seconds");
    assert(seconds.length > 0 && seconds.every((value) => value >= 0), String(seconds));
  }));
}

Deno.test(
  withMpirun(
    "DPO on two ranks has the losses of one process, if pairs are sorted too",
    async () => {
      await compare("dpo", 2, {
        "training.max_steps": 12,
        "dpo.loss_type": ["sigmoid", "aot"],
        "dpo.loss_weights": [1, 0.5],
      }, { metrics: ["loss", "rewards/margins", "rewards/accuracies", "logits/chosen"] });
    },
  ),
);

Deno.test(withMpirun("GRPO on two ranks has the losses and rewards of one process", async () => {
  await compare("grpo", 2, {
    "training.max_steps": 12,
    "grpo.steps_per_generation": 8,
    "grpo.scale_rewards": "batch",
    "grpo.loss_type": "dapo",
    "grpo.beta": 0.05,
    "grpo.top_entropy_quantile": 0.5,
  }, { metrics: ["loss", "reward", "reward_std", "kl", "entropy", "completions/mean_length"] });
}));

Deno.test(withMpirun("GKD on two ranks has the losses of one process", async () => {
  await compare("gkd", 2, { "training.max_steps": 10, "gkd.lmbda": 0.5 }, {
    metrics: ["loss", "on_policy", "completions/mean_length"],
  });
}));

Deno.test(
  withMpirun("a reference that follows the policy, and replayed groups, on two ranks", async () => {
    await compare("grpo", 2, {
      "training.max_steps": 10,
      "grpo.beta": 0.05,
      "grpo.sync_ref_model": true,
      "grpo.ref_model_sync_steps": 2,
      "grpo.replay_buffer_size": 4,
    }, { metrics: ["loss", "reward", "kl"] });
  }),
);
