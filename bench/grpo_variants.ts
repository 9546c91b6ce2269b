/**
 * GRPO and its variants on the drawn shapes, from the model that `train grpo` starts from: rewards
 * of greedy answers to held-out prompts before and after some steps, three seeds each.
 *
 * deno run -A bench/grpo_variants.ts [steps] > docs/runs/grpo_variants.log
 *
 * @module
 */
import type { ResolvedConfig } from "../src/config/types/config_types.ts";
import { EMBEDDED_CONFIGS } from "../src/config/embedded/embedded_configs.ts";
import { parseConfig } from "../src/config/load_config.ts";
import type { Dataset } from "../src/data/dataset.ts";
import type { GrpoExample } from "../src/data/rows/formats.ts";
import { initBackend } from "../src/device/backend.ts";
import { GradientAccumulator } from "../src/train/loop/gradients.ts";
import { CompletionScorer } from "../src/train/grpo/scoring.ts";
import { grpoGroups, grpoMethod } from "../src/train/grpo/setup.ts";
import { GRPO_STARTER_STEPS, grpoStarterFolder } from "../src/train/grpo/starter.ts";
import { Optimizer } from "../src/train/optimizer/optimizer.ts";
import { embeddedDataset } from "../src/data/embedded/embedded_dataset.ts";
import { prepareModel } from "../src/train/run/prepare_model.ts";

/** Each as its paper sets it, see docs/papers.md. */
const VARIANTS: Record<string, string[]> = {
  GRPO: ["loss_type=grpo", "epsilon=0.2"],
  GSPO: [
    "loss_type=grpo",
    "importance_sampling_level=sequence",
    "epsilon=3e-4",
    "epsilon_high=4e-4",
  ],
  DAPO: [
    "loss_type=dapo",
    "epsilon=0.2",
    "epsilon_high=0.28",
    "dynamic_sampling=true",
    "dynamic_sampling_max_rounds=2",
    "overlong_buffer_length=4",
  ],
  SAPO: ["loss_type=sapo", "sapo_temperature_pos=1.0", "sapo_temperature_neg=1.05"],
  dr_grpo: ["loss_type=dr_grpo", "scale_rewards=none"],
  bnpo: ["loss_type=bnpo"],
  cispo: ["loss_type=cispo", "epsilon_high=5"],
};
const SEEDS = [1, 2, 3];
const HELD_OUT = 300;

/** Rewards of greedy answers. */
export interface Scores {
  readonly format: number;
  readonly accuracy: number;
}

function configOf(keys: readonly string[], seed: number): ResolvedConfig {
  const { file, text } = EMBEDDED_CONFIGS.grpo;
  return parseConfig(text, {
    file,
    overrides: [
      "training.per_device_train_batch_size=16",
      `training.seed=${seed}`,
      "grpo.num_iterations=2",
      ...keys.map((key) => `grpo.${key}`),
    ],
  });
}

/**
 * Trains one variant.
 *
 * @param keys of the section `grpo`, as `key=value`
 * @returns rewards of greedy answers before and after
 */
export async function measureVariant(
  keys: readonly string[],
  { seed, model, steps }: {
    readonly seed: number;
    /** The folder that it starts from. */
    readonly model: string;
    readonly steps: number;
  },
): Promise<{ readonly before: Scores; readonly after: Scores }> {
  const config = configOf(keys, seed);
  const section = { ...config.model, model_name_or_path: model };
  const prepared = await prepareModel(section, config.training.seed);
  const train = await embeddedDataset("train", { format: "grpo" });
  const test = await embeddedDataset("test", { format: "grpo" }) as Dataset<GrpoExample>;
  const groups = grpoGroups(prepared, config);
  await using scorer = await CompletionScorer.start(config);
  const { method, dispose } = grpoMethod(config, {
    prepared,
    train,
    evaluation: test.select(Array.from({ length: HELD_OUT }, (_, i) => i)),
    scorer,
    groups,
  });
  const scores = async (): Promise<Scores> => {
    const { metrics } = (await method.evaluate())!;
    return {
      format: metrics["eval_rewards/format/mean"],
      accuracy: metrics["eval_rewards/accuracy/mean"],
    };
  };
  const { adam_beta1, adam_beta2, adam_epsilon, max_grad_norm } = config.training;
  const optimizer = new Optimizer(groups, {
    beta1: adam_beta1,
    beta2: adam_beta2,
    eps: adam_epsilon,
    maxGradNorm: max_grad_norm,
  });
  const accumulator = new GradientAccumulator();
  const before = await scores();
  for (let step = 0; step < steps; step++) {
    const { losses } = await method.step({ accumulator, parameters: optimizer.parameters, step });
    const { gradNorm } = await optimizer.measure(accumulator.gradients, losses);
    optimizer.step(accumulator.gradients, gradNorm, 1);
    accumulator.reset();
    for (const loss of losses) loss.dispose();
  }
  const after = await scores();
  optimizer.dispose();
  dispose();
  prepared.model.dispose();
  return { before, after };
}

if (import.meta.main) {
  const steps = Number(Deno.args[0] ?? 30);
  const output = Deno.args[1] ?? "./output/grpo_variants";
  const { name, reason } = await initBackend({ backend: "wasm" });
  const model = await grpoStarterFolder(output);
  const columns = (cells: readonly string[]) =>
    cells.map((cell, i) => i === 0 ? cell.padEnd(8) : cell.padStart(9)).join(" ");
  console.log(`GRPO and its variants on the drawn shapes; ${name}: ${reason}`);
  console.log(
    `from ${GRPO_STARTER_STEPS} steps of SFT; ${steps} optimizer steps on rounds of 16 prompts x 8 ` +
      `completions, each used twice; greedy answers to ${HELD_OUT} held-out prompts`,
  );
  console.log(
    columns(["variant", "seed", "format", "after", "accuracy", "after", "rise", "seconds"]),
  );
  const lowest = new Map<string, number>();
  for (const [variant, keys] of Object.entries(VARIANTS)) {
    for (const seed of SEEDS) {
      const started = performance.now();
      const { before, after } = await measureVariant(keys, { seed, model, steps });
      const rise = after.accuracy - before.accuracy;
      lowest.set(variant, Math.min(lowest.get(variant) ?? Infinity, rise));
      const numbers = [before.format, after.format, before.accuracy, after.accuracy, rise];
      console.log(columns([
        variant,
        String(seed),
        ...numbers.map((value) => value.toFixed(3)),
        ((performance.now() - started) / 1000).toFixed(0),
      ]));
    }
  }
  console.log("\nsmallest rise of the accuracy reward over the seeds");
  for (const [variant, rise] of lowest) console.log(columns([variant, rise.toFixed(3)]));
}
