import { assert, assertEquals } from "@std/assert";
import { fixtureTest } from "../../../parity/shared_fixtures.ts";

const main = new URL("../../../../mod.ts", import.meta.url).pathname;

/** Runs a command line; fails with what it said. */
async function run(...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", main, ...args],
    env: { NO_COLOR: "1" },
  }).output();
  const said = new TextDecoder().decode(stdout);
  assert(success, `${args.join(" ")}: ${said}${new TextDecoder().decode(stderr)}`);
  return said;
}

/** One or two steps on a few drawn pictures. */
function settings(model: string, out: string, steps: number): string[] {
  return [
    `model.model_name_or_path=${model}`,
    `training.max_steps=${steps}`,
    "training.per_device_train_batch_size=2",
    "training.eval_strategy=no",
    "training.save_strategy=steps",
    "training.save_steps=1",
    "dataset.max_samples=30",
    "dataset.eval_data_path=null",
  ].flatMap((setting) => ["--set", setting]).concat("--backend", "wasm", "--output-dir", out);
}

const LORA = [
  "model.use_lora=true",
  "training.gradient_checkpointing=true",
  "training.lr_mp=0",
  "training.lr_vision_backbone=0",
].flatMap((setting) => ["--set", setting]);

fixtureTest(
  "a SmolVLM trains by LoRA, resumes to the same bytes, merges and answers",
  async (directory) => {
    const model = `${directory}/smolvlm/smolvlm`;
    const root = await Deno.makeTempDir();
    try {
      await run("train", "sft", ...settings(model, `${root}/whole`, 2), ...LORA);
      await run("train", "sft", ...settings(model, `${root}/parts`, 1), ...LORA);
      await run("train", "sft", ...settings(model, `${root}/parts`, 2), ...LORA, "--resume");
      const adapter = (name: string) =>
        Deno.readFile(`${root}/${name}/checkpoint-2/adapter_model.safetensors`);
      assertEquals(await adapter("parts"), await adapter("whole"));
      const trained = `${root}/whole/checkpoint-2`;
      await run("merge", "--model", model, "--adapter", trained, "--out", `${root}/merged`);
      const ask = ["--prompt", "What?", "--greedy", "--max-new-tokens", "4", "--json"];
      const [merged, adapted] = await Promise.all([
        run("generate", "--model", `${root}/merged`, ...ask),
        run("generate", "--model", model, "--adapter", trained, ...ask),
      ]);
      assertEquals(JSON.parse(merged).tokens, JSON.parse(adapted).tokens);
    } finally {
      await Deno.remove(root, { recursive: true });
    }
  },
);

fixtureTest("a whole SmolVLM trains by SFT and DPO and keeps its files", async (directory) => {
  const model = `${directory}/smolvlm/idefics3`;
  const root = await Deno.makeTempDir();
  try {
    for (const method of ["sft", "dpo"]) {
      await run("train", method, ...settings(model, `${root}/${method}`, 1));
      const names = (folder: string) =>
        [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
      assertEquals(names(`${root}/${method}/final_model`), names(model));
      const config = JSON.parse(
        await Deno.readTextFile(`${root}/${method}/final_model/config.json`),
      );
      assertEquals(config.model_type, "idefics3");
    }
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});

fixtureTest("GRPO runs on a SmolVLM, its prompts' pictures shared", async (directory) => {
  const root = await Deno.makeTempDir();
  try {
    await run(
      "train",
      "grpo",
      ...settings(`${directory}/smolvlm/smolvlm`, `${root}/grpo`, 1),
      ...[
        "grpo.max_prompt_length=256",
        "grpo.max_completion_length=6",
        "training.share_prefix=true",
      ]
        .flatMap((setting) => ["--set", setting]),
    );
    const [line] = (await Deno.readTextFile(`${root}/grpo/metrics.jsonl`)).split("\n");
    assert("reward" in JSON.parse(line), line);
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});
