import { assert, assertEquals, assertRejects } from "@std/assert";
import { CheckpointError } from "../../../src/train/checkpoint/checkpoint.ts";
import { readCheckpointState } from "../../../src/train/checkpoint/run_state.ts";
import { Trainer } from "../../../src/train/loop/trainer.ts";
import { largestDifference } from "../dpo/tiny_dpo.ts";
import { methodWith } from "../method_with.ts";
import { shapeRows, type TinySFT, tinySFT } from "../sft/tiny_sft.ts";

const SETTINGS = ["training.max_steps=4", "training.save_steps=2"];

/** Warnings of a run from now on. */
function warningsOf(run: TinySFT): string[] {
  const warnings: string[] = [];
  run.options.reporter.onWarning = (text) => void warnings.push(text);
  return warnings;
}

async function firstPart(): Promise<TinySFT> {
  const run = await tinySFT(SETTINGS);
  await run.trainer.train();
  return run;
}

/** Rewrites a JSON file of a checkpoint; the manifest, which has its hash, goes. */
async function edit(
  folder: string,
  file: string,
  change: (value: Record<string, unknown>) => Record<string, unknown>,
): Promise<void> {
  const path = `${folder}/${file}`;
  const value = change(JSON.parse(await Deno.readTextFile(path)));
  await Deno.writeTextFile(path, JSON.stringify(value));
  await Deno.remove(`${folder}/checkpoint_manifest.json`).catch(() => {});
}

/** Turns a checkpoint into one of format 1, which had everything in trainer_state.json. */
async function toFormat1(folder: string): Promise<void> {
  const { trainer, run } = await readCheckpointState(folder);
  const { global_step, epoch, max_steps, best_metric, best_model_checkpoint, log_history } =
    trainer;
  const { method, schedule, optimizer_steps, window, skipped_steps } = run;
  await edit(folder, "trainer_state.json", () => ({
    ...{ global_step, epoch, max_steps, best_metric, best_model_checkpoint, log_history },
    ...{ method, schedule, optimizer_steps, window, skipped_steps },
  }));
  await Deno.remove(`${folder}/run_state.json`);
}

const CHANGES: [what: string, settings: readonly string[], says: string][] = [
  ["seed", ["training.seed=7"], "training.seed was 42 and is 7"],
  [
    "batch size",
    ["training.per_device_train_batch_size=3"],
    "per_device_train_batch_size was 2 and is 3",
  ],
  [
    "accumulation",
    ["training.gradient_accumulation_steps=2"],
    "gradient_accumulation_steps was 1 and is 2",
  ],
  ["precision", ["training.bf16=true"], "training.bf16 was false and is true"],
];

for (const [what, settings, says] of CHANGES) {
  Deno.test(`resume() with another ${what} is refused and changes nothing, but goes on if asked to`, async () => {
    await using run = await firstPart();
    await using other = await tinySFT([...SETTINGS, "training.max_steps=5", ...settings]);
    const before = await other.weights(), state = other.method.state();
    const error = await assertRejects(
      () => other.trainer.resume(`${run.folder}/checkpoint-2`),
      CheckpointError,
      says,
    );
    assert(error.message.includes("--resume-anyway"), error.message);
    assertEquals(other.trainer.step, 0);
    assertEquals(other.method.state(), state);
    assertEquals(largestDifference(await other.weights(), before), 0);

    const warnings = warningsOf(other);
    const step = await other.trainer.resume(`${run.folder}/checkpoint-2`, { anyway: true });
    assertEquals(step, 2);
    assert(warnings.some((text) => text.includes("anyway") && text.includes(says)), `${warnings}`);
    assertEquals((await other.trainer.train()).step, 5);
  });
}

Deno.test("resume() on other data is refused, but goes on if asked to", async () => {
  await using run = await firstPart();
  await using other = await tinySFT(SETTINGS, { rows: shapeRows(1) });
  const folder = `${run.folder}/checkpoint-2`;
  await assertRejects(() => other.trainer.resume(folder), CheckpointError, "the data was shapes (");
  await other.trainer.resume(folder, { anyway: true });
  assertEquals((await other.trainer.train()).step, 4);

  // As many rows with other contents: the fingerprint tells.
  await using same = await tinySFT(SETTINGS);
  const named = (fingerprint: string) =>
    new Trainer(
      methodWith(same.method, { data: { ...same.method.data, fingerprint } }),
      { ...same.options, training: { ...same.options.training, output_dir: `${same.folder}/x` } },
    );
  const first = named("aaaaaaaaaa");
  await first.train();
  first.dispose();
  const second = named("bbbbbbbbbb");
  await assertRejects(
    () => second.resume("auto"),
    CheckpointError,
    "aaaaaaaa) and is shapes",
  );
  second.dispose();
});

Deno.test("resume() on another backend is refused", async () => {
  await using run = await firstPart();
  const folder = `${run.folder}/checkpoint-2`;
  await edit(folder, "run_state.json", (state) => ({
    ...state,
    identity: { ...state.identity as object, backend: "webgpu", device: "a GPU" },
  }));
  await using other = await tinySFT(SETTINGS);
  await assertRejects(
    () => other.trainer.resume(folder),
    CheckpointError,
    "the backend was webgpu and is wasm",
  );
});

Deno.test("resume() tells of a changed learning rate and goes on; of a changed output folder it is silent", async () => {
  await using run = await firstPart();
  await using same = await tinySFT([...SETTINGS, "training.save_total_limit=9"]);
  const quiet = warningsOf(same);
  await same.trainer.resume(`${run.folder}/checkpoint-2`);
  assertEquals(quiet, []);
  await using other = await tinySFT([...SETTINGS, "training.learning_rate=1e-3"]);
  const warnings = warningsOf(other);
  await other.trainer.resume(`${run.folder}/checkpoint-2`);
  assertEquals(warnings.length, 1);
  assert(warnings[0].includes("training.learning_rate was 0.003 and is 0.001"), warnings[0]);
});

Deno.test("a checkpoint of format 1 resumes to the same bytes", async () => {
  await using whole = await firstPart();
  const folder = `${whole.folder}/checkpoint-2`;
  await toFormat1(folder);
  await using again = await tinySFT(SETTINGS);
  const warnings = warningsOf(again);
  assertEquals(await again.trainer.resume(folder), 2);
  assertEquals(warnings.length, 1);
  assert(warnings[0].includes("is of an earlier version"), warnings[0]);
  await again.trainer.train();
  assertEquals(largestDifference(await again.weights(), await whole.weights()), 0);
});

for (const format of [1, 2]) {
  Deno.test(`a checkpoint of format ${format} says of which training type it is`, async () => {
    await using run = await firstPart();
    const folder = `${run.folder}/checkpoint-2`;
    if (format === 1) await toFormat1(folder);
    await using other = await tinySFT(SETTINGS);
    for (const name of ["grpo", "dpo"]) {
      let restored = false;
      const trainer = new Trainer(
        methodWith(other.method, { name, restore: () => void (restored = true) }),
        other.options,
      );
      await assertRejects(
        () => trainer.resume(folder),
        CheckpointError,
        `Cannot resume ${name} from ${folder}: the checkpoint is of a run of sft`,
      );
      assertEquals(restored, false);
      trainer.dispose();
    }
  });
}

Deno.test("a checkpoint of a newer version, a damaged one and Transformers' own are refused with the way out", async () => {
  await using run = await firstPart();
  const folder = `${run.folder}/checkpoint-2`;
  await using other = await tinySFT(SETTINGS);
  const fails = (says: string) =>
    assertRejects(() => other.trainer.resume(folder), CheckpointError, says);
  await edit(folder, "run_state.json", (state) => ({ ...state, format: 3 }));
  await fails("has format 3, and this version reads up to 2; update @nanovlm/lab");
  await Deno.writeTextFile(`${folder}/run_state.json`, "[1, 2");
  await fails("run_state.json cannot be read");
  await Deno.remove(`${folder}/run_state.json`);
  await fails("it is Transformers' checkpoint and not ours");
});
