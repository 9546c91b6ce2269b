/**
 * Preference methods and RLOO on the drawn shapes, and GRPO over several turns on shapes that are far
 * away, three seeds each, from the models that these runs start from: held-out pairs whose chosen
 * answer is the likelier one, and the reward of greedy answers, before and after some steps.
 *
 *     deno run -A bench/new_methods.ts [steps] [GRPO steps] [turns steps] > docs/runs/new_methods.log
 *
 * @module
 */
import { EMBEDDED_CONFIGS } from "../src/config/embedded/embedded_configs.ts";
import { parseConfig } from "../src/config/load_config.ts";
import type { ResolvedConfig } from "../src/config/types/config_types.ts";
import type { Dataset } from "../src/data/dataset.ts";
import { embeddedDataset } from "../src/data/embedded/embedded_dataset.ts";
import type { PreferenceExample } from "../src/data/rows/formats.ts";
import { initBackend } from "../src/device/backend.ts";
import { evaluatePreference } from "../src/evaluate/evaluate_preference.ts";
import { loadModel } from "../src/generate/load_model.ts";
import { runDPO } from "../src/train/dpo/run.ts";
import { runGRPO } from "../src/train/grpo/run.ts";
import { grpoStarterFolder } from "../src/train/grpo/starter.ts";
import { starterFolder } from "../src/train/sft/starter.ts";
import { measureVariant } from "./grpo_variants.ts";

/** Keys of `dpo` and, where the defaults suit it less, of `training`. */
const PREFERENCE: Readonly<Record<string, readonly string[]>> = {
  DPO: ["dpo.loss_type=sigmoid"],
  ORPO: ["dpo.loss_type=orpo", "dpo.beta=1"],
  // With DPO's beta of 1 single answers soon lie where the sigmoid is flat.
  KTO: ["dpo.loss_type=kto", "dpo.beta=0.1", "dpo.desirable_weight=1.5"],
  SimPO: ["dpo.loss_type=simpo", "dpo.beta=2", "dpo.cpo_alpha=0"],
  CPO: ["dpo.loss_type=cpo", "dpo.beta=1"],
};
const REINFORCE: Readonly<Record<string, readonly string[]>> = {
  RLOO: ["loss_type=rloo"],
  "REINF++": ["loss_type=reinforce_plus_plus_baseline"],
};
const SEEDS = [1, 2, 3];
const HELD_OUT = 300;

function configOf(keys: readonly string[], seed: number, steps: number): ResolvedConfig {
  const { file, text } = EMBEDDED_CONFIGS.dpo;
  return parseConfig(text, {
    file,
    overrides: [
      `training.max_steps=${steps}`,
      `training.seed=${seed}`,
      "training.per_device_train_batch_size=32",
      "training.warmup_steps=5",
      "training.eval_strategy=no",
      "training.save_strategy=no",
      "logging.report_to=[]",
      ...keys,
    ],
  });
}

/**
 * Trains configs/shapes_look_closer.yaml.
 *
 * @returns the reward of greedy answers to held-out prompts before and after
 */
async function lookCloser(seed: number, steps: number, output: string) {
  const file = "configs/shapes_look_closer.yaml";
  const config = parseConfig(await Deno.readTextFile(file), {
    file,
    trainingType: "grpo",
    overrides: [
      `training.max_steps=${steps}`,
      `training.seed=${seed}`,
      `training.output_dir=${output}`,
      `save.save_model_path=${output}/final_model`,
      "training.eval_on_start=true",
      `training.eval_steps=${steps}`,
      "training.save_strategy=no",
      "logging.report_to=[]",
    ],
  });
  await runGRPO(config, { backend: "wasm" });
  const lines = (await Deno.readTextFile(`${output}/metrics.jsonl`)).trim().split("\n");
  const rewards = lines.map((line) => JSON.parse(line).eval_reward).filter((reward) =>
    reward !== undefined
  );
  if (rewards.length < 2) throw new Error(`Cannot compare: ${output} was evaluated once`);
  return { before: rewards[0], after: rewards[rewards.length - 1] };
}

/** Share of held-out pairs whose chosen answer the model in a folder finds likelier. */
async function accuracyOf(folder: string): Promise<number> {
  const loaded = await loadModel(folder);
  try {
    const test = await embeddedDataset("test", { format: "preference" }) as Dataset<
      PreferenceExample
    >;
    const some = test.select(Array.from({ length: Math.min(HELD_OUT, test.length) }, (_, i) => i));
    return (await evaluatePreference(loaded, some, { batchSize: 50 })).accuracy;
  } finally {
    loaded.model.dispose();
  }
}

if (import.meta.main) {
  const steps = Number(Deno.args[0] ?? 150), policySteps = Number(Deno.args[1] ?? 30);
  const turnsSteps = Number(Deno.args[2] ?? 40);
  const output = "./output/new_methods";
  const columns = (cells: readonly string[]) =>
    cells.map((cell, i) => i === 0 ? cell.padEnd(8) : cell.padStart(9)).join(" ");
  const { name, reason } = await initBackend({ backend: "wasm" });
  console.log(`Preference methods and RLOO on the drawn shapes; ${name}: ${reason}`);
  console.log(
    `preference: ${steps} steps of 32 from 40 steps of SFT, ${HELD_OUT} held-out pairs; ` +
      `RLOO and REINFORCE++: ${policySteps} steps as bench/grpo_variants.ts takes them; ` +
      `TURNS: ${turnsSteps} steps of configs/shapes_look_closer.yaml`,
  );
  console.log(columns(["method", "seed", "before", "after", "rise", "seconds"]));
  const lowest = new Map<string, number>();
  const report = (method: string, seed: number, from: number, to: number, started: number) => {
    lowest.set(method, Math.min(lowest.get(method) ?? Infinity, to - from));
    const seconds = ((performance.now() - started) / 1000).toFixed(0);
    const numbers = [from, to, to - from].map((value) => value.toFixed(3));
    console.log(columns([method, String(seed), ...numbers, seconds]));
  };
  const starter = await starterFolder(`${output}/run`, { steps: 40 });
  const before = await accuracyOf(starter);
  for (const seed of SEEDS) {
    for (const [method, keys] of Object.entries(PREFERENCE)) {
      const started = performance.now();
      const folder = `${output}/${method}_${seed}`;
      const config = configOf(keys, seed, steps);
      const { training, model, save } = config;
      await runDPO({
        ...config,
        model: { ...model, model_name_or_path: starter },
        training: { ...training, output_dir: folder },
        save: { ...save, save_model_path: `${folder}/final_model` },
      }, { backend: "wasm" });
      report(method, seed, before, await accuracyOf(`${folder}/final_model`), started);
    }
  }
  const policy = await grpoStarterFolder(`${output}/run`);
  for (const seed of SEEDS) {
    for (const [method, keys] of Object.entries(REINFORCE)) {
      const started = performance.now();
      const found = await measureVariant(keys, { seed, model: policy, steps: policySteps });
      report(method, seed, found.before.accuracy, found.after.accuracy, started);
    }
  }
  for (const seed of SEEDS) {
    const started = performance.now();
    const found = await lookCloser(seed, turnsSteps, `${output}/turns_${seed}`);
    report("TURNS", seed, found.before, found.after, started);
  }
  console.log("\nsmallest rise over the seeds");
  for (const [method, rise] of lowest) console.log(columns([method, rise.toFixed(3)]));
}
