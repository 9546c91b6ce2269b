import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { ConfigError } from "../../src/config/config_error.ts";
import { loadConfig, parseConfig, rewardOptions } from "../../src/config/load_config.ts";
import { stringifyConfig } from "../../src/config/stringify_config.ts";
import { configFault, leastConfig } from "./config_fault.ts";

Deno.test("parseConfig() fills in every trainer's own defaults", () => {
  const sft = parseConfig(leastConfig("sft"));
  assertEquals(sft.training.output_dir, "./sft_output");
  assertEquals([sft.training.lr_mp, sft.training.lr_vision_backbone, sft.training.lr_lora], [
    5e-3,
    5e-5,
    5e-4,
  ]);
  assertEquals(sft.save.save_model_path, "./sft_output/final_model");
  const grpo = parseConfig(leastConfig("grpo"));
  assertEquals(grpo.training.learning_rate, 5e-6);
  assertEquals(grpo.training.lr_mp, 5e-6);
  assertEquals(grpo.dataset.dataset_format, "grpo");
  assertEquals(grpo.training.metric_for_best_model, "eval_reward");
  assertEquals(grpo.training.greater_is_better, true);
});

Deno.test("parseConfig() reads 5e-5, 5E-5 and 1e3 as numbers, and 1e3 as an integer", () => {
  const { training } = parseConfig(
    leastConfig("sft", "training: { learning_rate: 5E-5, lr_mp: 5e-3, max_steps: 1e3 }"),
  );
  assertEquals([training.learning_rate, training.lr_mp, training.max_steps], [5e-5, 5e-3, 1000]);
});

Deno.test("parseConfig() takes empty sections, and an unquoted no, as YAML 1.2 has them", () => {
  const config = parseConfig(leastConfig("sft", "training:\n  save_strategy: no\nlogging:\n"));
  assertEquals(config.training.save_strategy, "no");
  assertEquals(config.logging.report_to, ["tensorboard"]);
});

Deno.test("parseConfig() names file, line and nearest key of a misspelt key", () => {
  const error = configFault(leastConfig("sft", "training:\n  max_stesp: 5\n"), { file: "a.yaml" });
  assertEquals(error.message, "a.yaml:5: training.max_stesp: no such key; did you mean max_steps?");
  assertEquals([error.file, error.line, error.key, error.nearest], [
    "a.yaml",
    5,
    "training.max_stesp",
    "max_steps",
  ]);
});

Deno.test("parseConfig() names the nearest key of nested sections and of the root", () => {
  const faults = [
    ["trainning: {}", "training"],
    ["rewards: { m.ts: { time_out_ms: 5 } }", "timeout_ms"],
  ];
  for (const [yaml, nearest] of faults) {
    assertEquals(configFault(leastConfig("sft", yaml)).nearest, nearest);
  }
  const inside = (model: string) =>
    configFault(`training_type: sft\nmodel: ${model}\ndataset: { train_data_path: x }`).nearest;
  assertEquals(
    inside("{ model_name_or_path: x, vlm_config: { vit_hiden_dim: 8 } }"),
    "vit_hidden_dim",
  );
  assertEquals(inside("{ model_name_or_path: x, lora_config: { lora_alfa: 8 } }"), "lora_alpha");
});

Deno.test("parseConfig() reports every mistake at once, in the order of the lines", () => {
  const error = configFault(leastConfig(
    "sft",
    `training:
  learning_rate: fast
  max_steps: 1.5
  bf16: yes
  sead: 1
  lr_scheduler_type: cosin
  per_device_train_batch_size: -1
  warmup_ratio: 1.5
  save_steps: "500"
  output_dir: 5
`,
  ));
  assertEquals(error.problems.map(({ line }) => line), [5, 6, 7, 8, 9, 10, 11, 12, 13]);
  assertEquals(error.problems.map(({ text }) => text), [
    'got "fast" (a string), want a number 0 or more',
    "got 1.5 (a number), want an integer -1 or more",
    'got "yes" (a string), want true or false, without quotes',
    "no such key; did you mean seed?",
    'got "cosin" (a string), want one of linear, cosine, cosine_with_restarts, polynomial, constant, ' +
    "constant_with_warmup, inverse_sqrt, reduce_lr_on_plateau, cosine_with_min_lr, " +
    "cosine_warmup_with_min_lr, warmup_stable_decay, greedy, nanovlm_cosine; did you mean cosine?",
    "got -1 (a number), want an integer 1 or more",
    "got 1.5 (a number), want a number from 0 to 1",
    'got "500" (a string), want an integer 1 or more, or null, without quotes',
    "got 5 (a number), want a folder (quote it)",
  ]);
});

Deno.test("parseConfig() refuses null if the key has no such value", () => {
  const error = configFault(leastConfig("sft", "training: { max_steps: null }"));
  assertEquals(error.problems[0].text, "got null, want an integer -1 or more");
});

Deno.test("parseConfig() refuses numbers that are not finite", () => {
  for (const value of [".inf", ".nan", "1e400"]) {
    configFault(leastConfig("sft", `training: { learning_rate: ${value} }`));
  }
});

Deno.test("parseConfig() refuses a key that is given twice, with its line", () => {
  const error = configFault(leastConfig("sft", "training:\n  seed: 1\n  seed: 2\n"));
  assertEquals([error.line, error.message.includes('"seed" is given twice')], [6, true]);
});

Deno.test("parseConfig() refuses two names of one key that disagree", () => {
  const error = configFault(leastConfig("dpo", "dpo:\n  dpo_loss_type: hinge\n  loss_type: ipo\n"));
  assertEquals(
    error.message,
    "config:6: dpo.loss_type: contradicts dpo_loss_type, which is the " +
      "same key; keep one",
  );
  const { dpo } = parseConfig(leastConfig("dpo", "dpo: { dpo_loss_type: hinge }"));
  assertEquals(dpo.loss_type, ["hinge"]);
});

Deno.test("parseConfig() says what is missing", () => {
  const error = configFault("training_type: sft\nmodel: {}\n");
  assertEquals(error.problems.map(({ key }) => key).sort(), [
    "dataset.train_data_path",
    "model.model_name_or_path",
  ]);
  assertEquals(configFault("").problems[0].key, "training_type");
  assertEquals(configFault("model: {}").problems[0].key, "training_type");
});

Deno.test("parseConfig() refuses what is no mapping, no YAML, or never ends", () => {
  assert(configFault("- a\n- b\n").message.includes("want a mapping"));
  assertEquals(configFault("training_type: sft\nmodel: [\n").line, 3);
  const bomb = ["a: &a0 [x, x, x, x, x, x, x, x, x, x]"];
  for (let i = 1; i < 9; i++) bomb.push(`b${i}: &a${i} [${Array(10).fill(`*a${i - 1}`)}]`);
  assert(configFault(bomb.join("\n")).message.includes("more than 20000 values"));
  configFault("a: &a [*a]");
  configFault(`a: ${"[".repeat(50_000)}`);
  assert(configFault("training_type: !!python/object:os.system sft").line === 1);
});

Deno.test("parseConfig() keeps prototypes out of free mappings", () => {
  const { dataset } = parseConfig(
    "training_type: sft\nmodel: { model_name_or_path: x }\n" +
      "dataset: { train_data_path: x, rename_columns: { __proto__: evil, toString: b } }",
  );
  assertEquals(Object.keys(dataset.rename_columns), ["__proto__", "toString"]);
  assertEquals(Object.getPrototypeOf(dataset.rename_columns), Object.prototype);
});

Deno.test("parseConfig() takes the trainer of the command, and refuses another one in the file", () => {
  const rest = "model: { model_name_or_path: x }\ndataset: { train_data_path: x }\n";
  assertEquals(parseConfig(rest, { trainingType: "sft" }).training_type, "sft");
  const error = configFault(leastConfig("dpo"), { trainingType: "sft" });
  assertEquals(
    error.message,
    "config:1: training_type: got dpo, but the command is train sft; run " +
      "train dpo",
  );
});

Deno.test("parseConfig() writes initialize for initialize_from_config", () => {
  const yaml = "training_type: sft\nmodel: { initialize_from_config: true }\n" +
    "dataset: { train_data_path: x }";
  assertEquals(parseConfig(yaml).model.model_name_or_path, "initialize");
});

Deno.test("parseConfig() warns of more than one GPU and of a vlm_config that is not read", () => {
  const warnings: string[] = [];
  parseConfig(
    "training_type: sft\nmodel: { model_name_or_path: x, vlm_config: { vit_n_heads: 2 } }\n" +
      "dataset: { train_data_path: x }\ntraining: { n_gpu: 8 }",
    { file: "a.yaml", onWarning: (warning) => warnings.push(warning) },
  );
  assertEquals(warnings.map((warning) => warning.split(": ").slice(0, 2)), [
    ["a.yaml:4", "training.n_gpu"],
    ["a.yaml:2", "model.vlm_config"],
  ]);
});

Deno.test("stringifyConfig() writes what parseConfig() reads back to the same config", () => {
  for (const trainer of ["sft", "dpo", "grpo"] as const) {
    const config = parseConfig(
      leastConfig(
        trainer,
        `training: { learning_rate: 3e-7, output_dir: "no: #x", lr_scheduler_type: cosine_with_min_lr, lr_scheduler_kwargs: { min_lr: 1e-8 } }
grpo: { generation_batch_size: 32, epsilon: 3e-4 }
dpo: { loss_type: [sigmoid, sft], loss_weights: [1, 0.5] }
rewards: { "./my reward.ts": { weight: 0.5, allow_net: true, allow_env: TOKEN } }
logging: { use_wandb: true }`,
      ),
      { onWarning: () => {} },
    );
    const again = parseConfig(stringifyConfig(config), { onWarning: () => {} });
    assertEquals(again, config);
    assertEquals(stringifyConfig(again), stringifyConfig(config));
  }
});

Deno.test("rewardOptions() lets a function's options win over its module's and the defaults", () => {
  const config = parseConfig(leastConfig(
    "grpo",
    "rewards: { m.ts: { weight: 2, timeout_ms: 50 }, short: { weight: 3 } }",
  ));
  assertEquals(rewardOptions(config, "m.ts", "short").weight, 3);
  assertEquals(rewardOptions(config, "m.ts", "short").timeout_ms, 50);
  assertEquals(rewardOptions(config, "m.ts", "long").weight, 2);
  assertEquals(rewardOptions(config, "other.ts"), {
    weight: 1,
    timeout_ms: 10_000,
    memory_mb: 512,
    allow_net: [],
    allow_read: [],
    allow_env: [],
    processes: 1,
    integrity: null,
  });
});

Deno.test("loadConfig() reads paths, file URLs and text", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/a b.yaml`;
  await Deno.writeTextFile(path, leastConfig("sft", "training: { seed: 7 }"));
  const url = new URL(`file://${folder}/a%20b.yaml`);
  for (const source of [path, url, leastConfig("sft", "training: { seed: 7 }")]) {
    assertEquals((await loadConfig(source)).training.seed, 7);
  }
  await Deno.remove(folder, { recursive: true });
});

Deno.test("loadConfig() says that a file is missing, or is no text", async () => {
  const missing = await assertRejects(() => loadConfig("no/such.yaml"), ConfigError);
  assertEquals(missing.message, "no/such.yaml: cannot read the config: there is no such file");
  const file = await Deno.makeTempFile();
  await Deno.writeFile(file, new Uint8Array([0xff, 0xfe, 0x00]));
  await assertRejects(() => loadConfig(file), ConfigError);
  await Deno.remove(file);
});

Deno.test("loadConfig() reads configs over http, and tells what the server answered", async () => {
  const server = Deno.serve(
    { port: 0, onListen: () => {} },
    (request) =>
      request.url.endsWith("/a.yaml")
        ? new Response(leastConfig("sft"))
        : new Response("no", { status: 404 }),
  );
  const base = `http://localhost:${server.addr.port}`;
  assertEquals((await loadConfig(`${base}/a.yaml`)).training_type, "sft");
  const error = await assertRejects(() => loadConfig(`${base}/b.yaml`), ConfigError);
  assert(error.message.includes("404"));
  await server.shutdown();
});

Deno.test("ConfigError carries its problems", () => {
  const error = assertThrows(() => parseConfig("a: 1"), ConfigError);
  assertEquals(error.name, "ConfigError");
  assertEquals(error.problems.length, 2);
});
