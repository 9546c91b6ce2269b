import { assert, assertEquals } from "@std/assert";
import { parseConfig } from "../../src/config/load_config.ts";
import { LAB_DPO, LAB_GRPO, LAB_SFT } from "./lab_configs.ts";
import { configFault } from "./config_fault.ts";

const built = (name: string) => `dataset.preprocessing_fn=builtin:dataset_preprocessing_${name}`;

Deno.test("parseConfig() reads NanoVLM-Lab's SFT shape, its rates as numbers", () => {
  const warnings: string[] = [];
  const config = parseConfig(LAB_SFT, {
    overrides: [built("sft")],
    onWarning: (warning) => warnings.push(warning),
  });
  assertEquals(warnings, []);
  assertEquals(config.training.learning_rate, 5e-5);
  assertEquals(config.training.lr_mp, 5e-3);
  assertEquals(config.training.lr_lora, 5e-4);
  assertEquals(config.training.bf16, true);
  assertEquals(config.dataset.eval_data_path, null);
  assertEquals(config.model.lora_config.target_modules.length, 7);
  assertEquals(config.logging.report_to, ["tensorboard"]);
  assertEquals(config.save.save_model_path, "./out/final_model");
});

Deno.test("parseConfig() reads NanoVLM-Lab's DPO shape, both names of its loss included", () => {
  const config = parseConfig(LAB_DPO, { overrides: [built("dpo")] });
  assertEquals(config.dpo.loss_type, ["sigmoid"]);
  assertEquals(config.dpo.loss_weights, [1]);
  assertEquals(config.dataset.rename_columns, { question: "prompt" });
  assertEquals(config.logging.report_to, []);
  // PEFT freezes everything but the adapter there, and the base is the reference.
  assertEquals(config.training.lr_mp, 0);
  assertEquals(config.training.lr_vision_backbone, 0);
  assertEquals(config.training.lr_lora, 5e-5);
});

Deno.test("parseConfig() reads NanoVLM-Lab's GRPO shape, in which G does not divide the batch", () => {
  const config = parseConfig(LAB_GRPO, {
    overrides: [built("grpo"), "dataset.reward_functions_fn=builtin:reward_functions"],
  });
  assertEquals(config.grpo.num_generations, 3);
  assertEquals(config.grpo.epsilon_high, 0.2);
  assertEquals(config.grpo.delta, null);
  assertEquals(config.grpo.steps_per_generation, 1);
  assertEquals(config.dataset.reward_functions_fn, ["builtin:reward_functions"]);
  assertEquals(config.training.save_total_limit, null);
});

Deno.test("parseConfig() refuses Python modules and names the built-in one and its --set", () => {
  const error = configFault(LAB_GRPO, { file: "grpo.yaml" });
  const lines = LAB_GRPO.split("\n");
  assertEquals(error.problems.map(({ key, line }) => [key, lines[(line ?? 0) - 1].trim()]), [
    ["dataset.preprocessing_fn", 'preprocessing_fn: "dataset_preprocessing_grpo.py"'],
    ["dataset.reward_functions_fn", 'reward_functions_fn: "reward_functions.py"'],
  ]);
  assert(
    error.problems[0].text.includes(
      "--set dataset.preprocessing_fn=builtin:dataset_preprocessing_grpo",
    ),
  );
  assert(
    error.problems[1].text.includes(
      "--set dataset.reward_functions_fn=builtin:reward_functions",
    ),
  );
});

Deno.test("parseConfig() names the TypeScript file that replaces somebody's own Python module", () => {
  const error = configFault(LAB_SFT, { overrides: ["dataset.preprocessing_fn=mine/clean.py"] });
  assertEquals(error.problems.length, 1);
  assert(error.message.includes("--set dataset.preprocessing_fn=mine/clean.ts"), error.message);
});
