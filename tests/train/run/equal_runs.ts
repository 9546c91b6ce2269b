/**
 * Trains the same steps with every loss, on as many ranks as there are, and prints a line of JSON for
 * each loss on rank 0: what one process prints is compared with what several print.
 *
 * deno run -A tests/train/run/equal_runs.ts BACKEND STEPS [LOSS…], alone or under mpirun
 */
import type { ResolvedConfig } from "../../../src/config/types/config_types.ts";
import { parseConfig } from "../../../src/config/load_config.ts";
import { datasetFromRows } from "../../../src/data/load_dataset.ts";
import { type BackendChoice, initBackend } from "../../../src/device/backend.ts";
import { gatherJson, type Ranks } from "../../../src/distributed/ranks.ts";
import { startRanks } from "../../../src/distributed/start_ranks.ts";
import { DPO_LOSS_TYPES } from "../../../src/losses/dpo.ts";
import { GRPO_LOSS_TYPES } from "../../../src/losses/grpo_losses.ts";
import { SilentReporter } from "../../../src/report/silent_reporter.ts";
import { dpoExampleMaker, dpoGroups, dpoMethod } from "../../../src/train/dpo/setup.ts";
import { grpoGroups, grpoMethod } from "../../../src/train/grpo/setup.ts";
import { tensorHash } from "../../../src/train/loop/same_weights.ts";
import { Trainer } from "../../../src/train/loop/trainer.ts";
import type { TrainingMethod } from "../../../src/train/loop/training_method.ts";
import type { ParameterGroup } from "../../../src/train/optimizer/optimizer.ts";
import { type PreparedModel, prepareModel } from "../../../src/train/run/prepare_model.ts";
import { sftGroups, sftMethod } from "../../../src/train/sft/setup.ts";
import { madeUpReference, shapeRows as preferenceRows } from "../dpo/tiny_dpo.ts";
import { idScorer, shapeRows as promptRows } from "../grpo/tiny_grpo.ts";
import { shapeRows as questionRows } from "../sft/tiny_sft.ts";
import { tinyRunConfig } from "./rank_runs.ts";

/** One kind of training. */
export interface EqualCase {
  /** As `dpo ipo`. */
  readonly name: string;
  readonly trainer: "sft" | "dpo" | "grpo";
  readonly overrides: readonly string[];
}

/** What a case gave, the same for any number of ranks. */
export interface EqualResult {
  readonly name: string;
  readonly ranks: number;
  /** Of each step. */
  readonly losses: readonly number[];
  /** Steps after which all ranks held the same bits. */
  readonly sameBits: number;
}

/** Settings that a GRPO loss needs beside its name. */
const GRPO_NEEDS: Readonly<Record<string, readonly string[]>> = {
  sapo: ["grpo.sapo_temperature_pos=1", "grpo.sapo_temperature_neg=1.05"],
  luspo: ["grpo.importance_sampling_level=sequence"],
  cispo: ["grpo.epsilon_high=5"],
};

/** Every loss of SFT, DPO and GRPO. */
export const EQUAL_CASES: readonly EqualCase[] = [
  { name: "sft", trainer: "sft", overrides: [] },
  ...DPO_LOSS_TYPES.map((loss): EqualCase => ({
    name: `dpo ${loss}`,
    trainer: "dpo",
    overrides: [`dpo.loss_type=[${loss}]`, "dpo.label_smoothing=0.1"],
  })),
  ...GRPO_LOSS_TYPES.map((loss): EqualCase => ({
    name: `grpo ${loss}`,
    trainer: "grpo",
    overrides: [
      ...[`grpo.loss_type=${loss}`, "grpo.scale_rewards=batch", "grpo.beta=0.05"],
      ...["grpo.num_iterations=2", "grpo.log_completions=false"],
      ...GRPO_NEEDS[loss] ?? [],
    ],
  })),
];

interface Made {
  readonly method: TrainingMethod;
  readonly groups: readonly ParameterGroup[];
  dispose(): void;
}

async function makeMethod(config: ResolvedConfig, prepared: PreparedModel): Promise<Made> {
  if (config.training_type === "sft") {
    const train = await datasetFromRows(questionRows(), { format: "vqa", name: "shapes" });
    const method = sftMethod(config, { prepared, train, evaluation: null });
    return { method, groups: sftGroups(prepared, config), dispose: () => {} };
  }
  if (config.training_type === "dpo") {
    const train = await datasetFromRows(preferenceRows(), { format: "preference", name: "shapes" });
    const reference = madeUpReference();
    const maker = dpoExampleMaker(prepared, config);
    const method = dpoMethod(config, { prepared, maker, train, evaluation: null, reference });
    return { method, groups: dpoGroups(prepared, config), dispose: () => reference.dispose() };
  }
  const train = await datasetFromRows(promptRows(), { format: "grpo", name: "shapes" });
  const groups = grpoGroups(prepared, config);
  const scorer = idScorer;
  const made = grpoMethod(config, { prepared, train, evaluation: null, scorer, groups });
  return { ...made, groups };
}

async function trainCase(
  { name, trainer, overrides }: EqualCase,
  steps: number,
  ranks: Ranks,
): Promise<EqualResult> {
  const config = parseConfig(JSON.stringify(tinyRunConfig(trainer)), {
    trainingType: trainer,
    overrides: [
      `training.max_steps=${steps}`,
      ...["training.logging_steps=1", "training.save_strategy=no"],
      // Of all ranks together, since no command line counts them here.
      ...["training.per_device_train_batch_size=1", "training.gradient_accumulation_steps=4"],
      // Scores come from code of this process.
      ...trainer === "grpo" ? ["dataset.reward_functions_fn=[builtin:accuracy]"] : [],
      ...overrides,
    ],
  });
  const { training } = config;
  const prepared = await prepareModel(config.model, training.seed, training);
  const { method, groups, dispose } = await makeMethod(config, prepared);
  const losses: number[] = [];
  let sameBits = 0;
  const run = new Trainer(method, {
    ...{ training, config, groups, ranks },
    reporter: new SilentReporter(`rank ${ranks.rank}`),
    saveModel: () => Promise.resolve(),
    callbacks: [{
      onLog: ({ loss }) => void losses.push(loss as number),
      async onStepEnd() {
        const hash = await tensorHash(run.optimizer.parameters);
        const all = await gatherJson(ranks, hash, "the hashes of the weights");
        if (all.every((one) => one === hash)) sameBits++;
      },
    }],
  });
  try {
    await run.train();
  } finally {
    run.dispose();
    dispose();
    prepared.model.dispose();
  }
  return { name, ranks: ranks.size, losses, sameBits };
}

if (import.meta.main) {
  const [backend, steps, ...names] = Deno.args;
  const ranks = await startRanks();
  const active = await initBackend({ backend: backend as BackendChoice });
  for (const one of EQUAL_CASES) {
    if (names.length > 0 && !names.includes(one.name)) continue;
    const result = await trainCase(one, Number(steps), ranks);
    if (ranks.rank === 0) console.log(JSON.stringify(result));
  }
  await ranks.close();
  active.dispose();
}
