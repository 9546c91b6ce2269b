import { assertEquals } from "@std/assert";
import { loadTrainConfig, parseTrainArguments, withSplitOfRun } from "../../tasks/train.ts";

const configOf = (...args: string[]) => loadTrainConfig(parseTrainArguments(args));

Deno.test("without a config, training data of one's own is split, and nothing else is read", async () => {
  const own = await configOf("sft", "--set", "dataset.train_data_path=mine.jsonl");
  assertEquals(own.dataset.train_data_path, "mine.jsonl");
  assertEquals(own.dataset.eval_data_path, null);
});

Deno.test("without a config, evaluation data that is named is used, and the drawings keep theirs", async () => {
  const both = await configOf(
    "sft",
    "--set",
    "dataset.train_data_path=mine.jsonl",
    "--set",
    "dataset.eval_data_path=held_out.jsonl",
  );
  assertEquals(both.dataset.eval_data_path, "held_out.jsonl");
  assertEquals((await configOf("sft")).dataset.eval_data_path, "builtin:drawings");
});

Deno.test("a run that began with the earlier split resumes with it, a newer one with its own", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const config = await configOf("sft", "--output-dir", dir);
    assertEquals(config.dataset.split_rule, "datasets");
    const ruleOnResume = async (resume: string | undefined) =>
      (await withSplitOfRun(config, resume)).dataset.split_rule;
    assertEquals(await ruleOnResume("auto"), "datasets"); // nothing was begun
    await Deno.writeTextFile(`${dir}/config.resolved.yaml`, "dataset:\n  streaming: false\n");
    assertEquals(await ruleOnResume(undefined), "datasets");
    assertEquals(await ruleOnResume("auto"), "legacy");
    assertEquals(await ruleOnResume(`${dir}/checkpoint-3`), "legacy");
    await Deno.writeTextFile(`${dir}/config.resolved.yaml`, "dataset:\n  split_rule: datasets\n");
    assertEquals(await ruleOnResume("auto"), "datasets");
    const sidesOnResume = async () => (await withSplitOfRun(config, "auto")).dataset.split_by;
    assertEquals(await sidesOnResume(), "row"); // begun before rows were kept together by picture
    await Deno.writeTextFile(`${dir}/config.resolved.yaml`, "dataset:\n  split_by: auto\n");
    assertEquals(await sidesOnResume(), "auto");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
