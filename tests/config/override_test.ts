import { assert, assertEquals, assertThrows } from "@std/assert";
import { ConfigError } from "../../src/config/config_error.ts";
import { parseConfig } from "../../src/config/load_config.ts";
import { parseModelOverrides, parseOverride } from "../../src/config/override.ts";
import { leastConfig } from "./config_fault.ts";

function withSet(...overrides: string[]) {
  return parseConfig(leastConfig("grpo", "training: { seed: 1 }"), {
    overrides,
    onWarning: () => {},
  });
}

Deno.test("--set takes numbers, booleans, null and lists as YAML values", () => {
  const config = withSet(
    "training.learning_rate=5e-5",
    "training.max_steps=12",
    "training.fp16=true",
    "training.save_total_limit=null",
    "dataset.reward_functions_fn=[a.ts, b.ts]",
    "grpo.reward_weights=[1, 0.5]",
    "model.lora_config.target_modules=q_proj",
  );
  assertEquals(config.training.learning_rate, 5e-5);
  assertEquals(config.training.max_steps, 12);
  assertEquals(config.training.fp16, true);
  assertEquals(config.training.save_total_limit, null);
  assertEquals(config.dataset.reward_functions_fn, ["a.ts", "b.ts"]);
  assertEquals(config.grpo.reward_weights, [1, 0.5]);
  assertEquals(config.model.lora_config.target_modules, "q_proj");
});

Deno.test("--set wins over the file, the last one over earlier ones, and leaves the rest", () => {
  const { training } = withSet("training.seed=2", "training.seed=3", "training.n_gpu=1");
  assertEquals(training.seed, 3);
  const { model } = withSet("model.lora_config.r=8");
  assertEquals([model.lora_config.r, model.model_name_or_path], [8, "folder"]);
});

Deno.test("--set takes strings as they stand, whatever YAML would make of them", () => {
  const paths = ["train[:5%]", "@odd", "a: b", "C:\\data", "123", "x#y", "*.parquet", "'", "=a=b"];
  for (const path of paths) {
    assertEquals(withSet(`dataset.train_split=${path}`).dataset.train_split, path);
  }
});

Deno.test("--set reaches keys of free mappings, dots in their names included", () => {
  const config = withSet(
    "dataset.rename_columns.my.question=prompt",
    "rewards.reward_functions/mine.ts.weight=0.5",
    "rewards.https://example.com/a.ts.allow_net=[example.com]",
    "training.lr_scheduler_kwargs.num_cycles=0.5",
    "rewards.short={weight: 2}",
    "rewards.other.ts={timeout_ms: 9}",
  );
  assertEquals(config.dataset.rename_columns, { "my.question": "prompt" });
  assertEquals(config.rewards, {
    "reward_functions/mine.ts": { weight: 0.5 },
    "https://example.com/a.ts": { allow_net: ["example.com"] },
    short: { weight: 2 },
    "other.ts": { timeout_ms: 9 },
  });
  assertEquals(config.training.lr_scheduler_kwargs, { num_cycles: 0.5 });
});

Deno.test("--set of one name of a key takes the place of its other name in the file", () => {
  const config = parseConfig(leastConfig("dpo", "dpo: { dpo_loss_type: hinge }"), {
    overrides: ["dpo.loss_type=ipo"],
  });
  assertEquals(config.dpo.loss_type, ["ipo"]);
  const other = parseConfig(leastConfig("dpo", "dpo: { loss_type: hinge }"), {
    overrides: ["dpo.dpo_loss_type=ipo"],
  });
  assertEquals(other.dpo.loss_type, ["ipo"]);
});

Deno.test("--set names the nearest key of an unknown one, at any depth", () => {
  const nearest = (text: string) => assertThrows(() => parseOverride(text), ConfigError).nearest;
  assertEquals(nearest("trainig.seed=1"), "training");
  assertEquals(nearest("training.sed=1"), "seed");
  assertEquals(nearest("model.lora_config.lora_alfa=1"), "lora_alpha");
  assertEquals(nearest("rewards.m.ts.wieght=1"), "weight");
});

Deno.test("--set refuses values of a wrong type, keys below values, and no value at all", () => {
  const message = (text: string) => assertThrows(() => parseOverride(text), ConfigError).message;
  assertEquals(
    message("training.max_steps=many"),
    '--set training.max_steps=many: training.max_steps: got "many" (a string), want an integer -1 ' +
      "or more",
  );
  assert(message("training.seed.deeper=1").includes("training.seed is a single value"));
  assert(message("training.seed").includes("want key.path=value"));
  assert(message("=5").includes("want key.path=value"));
  assert(message("training.learning_rate=[1").includes("not YAML"));
});

Deno.test("a fault that two keys make together names the --set that brought it", () => {
  const error = assertThrows(
    () => withSet("training.bf16=true", "training.fp16=true"),
    ConfigError,
  );
  assertEquals(error.file, "--set training.fp16=true");
});

Deno.test("parseModelOverrides() reads vlm_config keys and the position embeddings' choice", () => {
  assertEquals(
    parseModelOverrides(["vlm_config.vit_n_blocks=2", "init_position_embedding=normal"]),
    { vlmConfig: { vit_n_blocks: 2 }, initPositionEmbedding: "normal", initializerRange: 0.02 },
  );
  const { initPositionEmbedding } = parseModelOverrides(["init_position_embedding=sincos"]);
  assertEquals(initPositionEmbedding, "sincos");
  assertEquals(parseModelOverrides(["initializer_range=0.1"]).initializerRange, 0.1);
  assertThrows(() => parseModelOverrides(["initializer_range=none"]), ConfigError);
  assertEquals(parseModelOverrides([]), {
    vlmConfig: {},
    initPositionEmbedding: "uniform",
    initializerRange: 0.02,
  });
  assertThrows(() => parseModelOverrides(["training.seed=1"]), ConfigError);
  assertThrows(() => parseModelOverrides(["vlm_config.vit_blocks=2"]), ConfigError);
});
