import { assert, assertEquals } from "@std/assert";
import { backendOfDevice } from "../../../src/config/schema/device_backend.ts";
import { EMBEDDED_CONFIGS } from "../../../src/config/embedded/embedded_configs.ts";
import { embeddedModule } from "../../../src/config/embedded/embedded_module.ts";
import { loadConfig, parseConfig } from "../../../src/config/load_config.ts";
import { configReference } from "../../../src/config/reference.ts";
import { vlmConfigKeys } from "../../../src/config/schema/vlm_config.ts";
import type { KeySpec } from "../../../src/config/types/value_type.ts";
import { defaultVLMConfig } from "../../../src/vlm_config.ts";

const configs = new URL("../../../configs/", import.meta.url);

Deno.test("the documented defaults of vlm_config are nanoVLM's", () => {
  const defaults: Record<string, unknown> = { ...defaultVLMConfig() };
  const specs: Record<string, KeySpec<unknown>> = { ...vlmConfigKeys };
  assertEquals(Object.keys(specs), Object.keys(defaults));
  for (const [name, spec] of Object.entries(specs)) {
    if (spec.default.kind === "value") assertEquals(spec.default.values.sft, defaults[name], name);
  }
});

Deno.test("every config of configs/ parses without a warning", async () => {
  const files: string[] = [];
  for await (const { name } of Deno.readDir(configs)) {
    if (name.endsWith(".yaml")) files.push(name);
  }
  assert(files.length >= 10, `found ${files}`);
  for (const file of files) {
    const warnings: string[] = [];
    await loadConfig(new URL(file, configs), { onWarning: (text) => warnings.push(text) });
    assertEquals(warnings, [], file);
  }
});

Deno.test("configs/README.md is what deno task config-docs writes", async () => {
  const text = await Deno.readTextFile(new URL("README.md", configs));
  assert(text === configReference(), "run deno task config-docs");
});

Deno.test("configs/README.md names every key that users rely on", () => {
  const page = configReference();
  const keys = "model_name_or_path lora_alpha vlm_config train_split rename_columns split_turns " +
    "lr_vision_backbone lr_scheduler_type loss_reduction share_prefix dpo_loss_type " +
    "importance_sampling_level sapo_temperature_neg reward_weights integrity push_to_hub report_to";
  for (const key of keys.split(" ")) assert(page.includes(`\`${key}\``), key);
});

Deno.test("configs/README.md begins with ten keys, their ranges and how to choose them", () => {
  const table = configReference().split("## The ten keys that matter")[1].split("## `")[0];
  const rows = table.split("\n").filter((line) => line.startsWith("| `"));
  assertEquals(rows.length, 10);
  assert(rows.some((row) => row.startsWith("| `training.learning_rate` |")));
  assert(rows.some((row) => row.startsWith("| `grpo.num_generations` |")));
});

Deno.test("the embedded configs equal their files in configs byte for byte", async () => {
  for (const name of ["drawings", "sft", "dpo", "grpo", "gkd"] as const) {
    const { file, text } = EMBEDDED_CONFIGS[name];
    const written = await Deno.readTextFile(new URL(`../../../${file}`, import.meta.url));
    assert(text === written, `run deno task embed-configs: ${file}`);
    assertEquals(parseConfig(text).training_type, name === "drawings" ? "sft" : name);
  }
});

Deno.test("embeddedModule() escapes what template strings would read", async () => {
  const yaml = "a: `${1}` \\n\n";
  const module = embeddedModule({ sft: yaml });
  const url = `data:application/typescript;base64,${
    btoa(module.replace(/^import type.*$/m, "type TrainingType = string;"))
  }`;
  const { EMBEDDED_CONFIGS: embedded } = await import(url);
  assertEquals(embedded.sft.text, yaml);
});

Deno.test("backendOfDevice() maps PyTorch's devices to backends", () => {
  const devices = ["auto", "cuda", "cuda:1", "mps", "cpu", "webgpu", "wasm"];
  assertEquals(devices.map(backendOfDevice), [
    "auto",
    "auto",
    "auto",
    "auto",
    "wasm",
    "webgpu",
    "wasm",
  ]);
});
