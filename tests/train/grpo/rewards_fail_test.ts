import { assert, assertEquals, assertRejects } from "@std/assert";
import type { ResolvedConfig } from "../../../src/config/types/config_types.ts";
import { parseConfig } from "../../../src/config/load_config.ts";
import { CompletionScorer, rewardModuleSpecs } from "../../../src/train/grpo/scoring.ts";
import { runGRPO } from "../../../src/train/grpo/run.ts";
import { tinyConfig } from "./tiny_grpo.ts";

/** A reward that errs, stalls or returns nonsense in some of its calls. */
const TROUBLED = `
export async function troubled({ completions, trainer_state }) {
  const step = trainer_state.global_step;
  if (step === 1) throw new Error("no luck");
  if (step === 2) await new Promise(() => {});
  if (step === 3) return ["a", "b"];
  if (step === 4) return [1];
  return completions.map((text) => text.length % 3);
}
`;
const HOPELESS = `
let calls = 0;
export function hopeless({ completions }) {
  if (++calls > 3) throw new Error("never again");
  return completions.map((text) => text.length % 2);
}
`;

/** The config of a run of a tiny model with a reward module. */
async function configOf(folder: string, module: string, overrides: string[] = []) {
  const path = `${folder}/reward.ts`;
  await Deno.writeTextFile(path, module);
  const config = tinyConfig([
    "training.per_device_train_batch_size=2",
    "training.logging_steps=1",
    "training.save_strategy=steps",
    "training.save_steps=100",
    "training.eval_strategy=no",
    `training.output_dir=${folder}/run`,
    `dataset.reward_functions_fn=[${path}]`,
    ...overrides,
  ]);
  config.rewards[path] = { timeout_ms: 500 };
  return config;
}

async function records(config: ResolvedConfig): Promise<Record<string, number>[]> {
  const text = await Deno.readTextFile(`${config.training.output_dir}/metrics.jsonl`);
  return text.trim().split("\n").map((line) => JSON.parse(line));
}

Deno.test("a reward that errs, stalls or talks nonsense costs its scores, never the run", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const config = await configOf(folder, TROUBLED, ["training.max_steps=6"]);
    const { status, step } = await runGRPO(config, { backend: "wasm" });
    assertEquals([status, step], ["done", 6]);
    const failed = (await records(config)).map((record) => record["rewards/troubled/failed"]);
    assertEquals(failed, [0, 1, 1, 1, 1, 0]);
    const timeouts = (await records(config)).map((record) => record["rewards/troubled/timeouts"]);
    assertEquals(timeouts, [0, 0, 1, 0, 0, 0]);
    const lines = (await Deno.readTextFile(`${config.training.output_dir}/completions.jsonl`))
      .trim().split("\n").map((line) => JSON.parse(line));
    assertEquals(lines.length, 6 * 2 * 3);
    assert(lines.filter(({ step }) => step === 2).every(({ reward }) => reward === null));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a reward that fails several times in a row stops the run with a checkpoint", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const config = await configOf(folder, HOPELESS, ["training.max_steps=20"]);
    const error = await assertRejects(
      () => runGRPO(config, { backend: "wasm" }),
      Error,
      "Reward function hopeless failed 5 times in a row",
    );
    assert(error.message.includes("--resume"), error.message);
    const state = JSON.parse(
      await Deno.readTextFile(`${folder}/run/checkpoint-7/trainer_state.json`),
    );
    assertEquals(state.global_step, 7);
    await Deno.writeTextFile(
      `${folder}/reward.ts`,
      HOPELESS.replace("> 3", "> 300"),
    );
    const mended = { ...config, training: { ...config.training, max_steps: 9 } };
    const { step } = await runGRPO(mended, { backend: "wasm", resume: "auto" });
    assertEquals(step, 9);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("grants, weights and limits of the config reach the sandbox", () => {
  const config = tinyConfig();
  config.dataset.reward_functions_fn = ["builtin:format", "./own.ts"];
  config.rewards = {
    "./own.ts": { allow_net: ["localhost"], memory_mb: 64, weight: 3, timeout_ms: 50 },
    format: { weight: 0.5 },
  };
  const [builtin, own] = rewardModuleSpecs(config);
  assertEquals([own.allowNet, own.memoryMb, own.weight, own.timeoutMs], [["localhost"], 64, 3, 50]);
  assertEquals([builtin.allowNet, builtin.weights], [[], { format: 0.5 }]);
});

Deno.test("reward_weights that do not fit the functions are an error that names them", async () => {
  const config = tinyConfig(["grpo.reward_weights=[1,2,3]"]);
  await assertRejects(
    () => CompletionScorer.start(config),
    Error,
    "grpo.reward_weights has 3 numbers, want one for each of the 2 functions: format, accuracy",
  );
});

Deno.test("GRPO's impossible settings are errors before anything starts", () => {
  const yaml = (grpo: string) =>
    `training_type: grpo
model: {model_name_or_path: builtin:shapes}
dataset: {train_data_path: builtin:shapes, dataset_format: grpo, reward_functions_fn: builtin:format}
training: {output_dir: x, per_device_train_batch_size: 2}
grpo: {${grpo}}`;
  const says = (grpo: string) => {
    try {
      parseConfig(yaml(grpo));
      return "nothing";
    } catch (error) {
      return String(error);
    }
  };
  assert(says("num_generations: 1").includes("want 2 or more"));
  assert(says("num_generations: 3, generation_batch_size: 8").includes("multiple of 6"));
  assert(says("loss_type: sapo").includes("sapo_temperature_pos"));
  assertEquals(says("num_generations: 3, generation_batch_size: 12"), "nothing");
});
