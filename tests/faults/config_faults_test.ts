/** A wrong command line or config: exit code 2, what and where, and nothing is started. */
import { assertEquals } from "@std/assert";
import { assertFails, CommandLine, pathsBelow, tinyTraining } from "./command_line.ts";

const LEAST = `training_type: sft
model: { model_name_or_path: initialize }
dataset: { train_data_path: builtin:shapes }
`;

const overrides: [name: string, setting: string, says: (string | RegExp)[]][] = [
  ["an unknown key", "training.lerning_rate=1", [
    "--set training.lerning_rate=1",
    "no such key; did you mean learning_rate?",
  ]],
  ["an unknown section", "trainig.seed=1", ["trainig: no such key; did you mean training?"]],
  ["a word for a number", "training.max_steps=many", [
    'training.max_steps: got "many" (a string), want an integer',
  ]],
  ["a list for a number", "training.seed=[1]", ["training.seed: got a list, want an integer"]],
  ["a batch of no examples", "training.per_device_train_batch_size=0", [
    "want an integer 1 or more",
  ]],
  ["heads that do not divide the width", "model.vlm_config.lm_n_heads=5", [
    "lm_n_heads: got 5, want a multiple of lm_n_kv_heads, which is 2",
  ]],
  ["a Python module", "dataset.preprocessing_fn=my_rows.py", [
    "Python module my_rows.py",
    "--set dataset.preprocessing_fn=my_rows.ts",
  ]],
  ["data for another trainer", "dataset.dataset_format=preference", [
    "got preference, want vqa, since training_type is sft",
  ]],
  ["an unknown device", "training.device=tpu", ["want one of auto, cuda"]],
  ["a push to no repository", "save.push_to_hub=true", ["set save.hub_model_id to user/name"]],
  ["the best of what is never evaluated", "training.load_best_model_at_end=true", [
    "wants eval_strategy and save_strategy to be the same",
  ]],
];

const files: [name: string, text: string, says: (string | RegExp)[]][] = [
  [
    "a misspelt key deep in a file",
    LEAST.replace(
      "initialize }",
      `initialize
    , vlm_config: { vit_hiden_dim: 64 } }`,
    ),
    [
      /bad\.yaml:3: model\.vlm_config\.vit_hiden_dim: no such key; did you mean vit_hidden_dim\?/,
    ],
  ],
  ["a wrong type in a file", LEAST + "training:\n  warmup_steps: soon\n", [
    /bad\.yaml:5: training\.warmup_steps: got "soon" \(a string\), want/,
  ]],
  ["a file that is no YAML", "training_type: sft\nmodel: {a: [\n", [/bad\.yaml:3: not YAML/]],
  ["a file with no data", "training_type: sft\nmodel: { model_name_or_path: x }\n", [
    "train_data_path",
  ]],
];

Deno.test("a wrong config or command line exits with 2, says where, and starts nothing", async (t) => {
  const root = await Deno.makeTempDir({ prefix: "config faults " });
  const output = `${root}/out`;
  try {
    await using cli = new CommandLine();
    for (const [name, setting, says] of overrides) {
      await t.step(name, async () => {
        assertFails(await cli.run(tinyTraining(output, [setting])), 2, ...says);
      });
    }
    for (const [name, text, says] of files) {
      await t.step(name, async () => {
        await Deno.writeTextFile(`${root}/bad.yaml`, text);
        const args = ["train", "sft", `--config=${root}/bad.yaml`, `--output-dir=${output}`];
        assertFails(await cli.run(args), 2, ...says);
      });
    }
    await t.step("a config that is not there", async () => {
      const args = ["train", "sft", `--config=${root}/none.yaml`, `--output-dir=${output}`];
      assertFails(await cli.run(args), 2, `${root}/none.yaml`, "there is no such file");
    });
    await t.step("an unknown option", async () => {
      assertFails(await cli.run(["train", "sft", "--otput-dir=x"]), 2, "--output-dir");
    });
    await t.step("an unknown backend", async () => {
      assertFails(await cli.run(["train", "sft", "--backend=metal"]), 2, "auto, webgpu, wasm, cpu");
    });
    await t.step("a checkpoint that is not there", async () => {
      const args = tinyTraining(output, [], [`--resume=${root}/none`]);
      assertFails(await cli.run(args), 2, `${root}/none`, "there is no such folder");
    });
    assertEquals(pathsBelow(output), []);
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});
