import { assert, assertEquals, assertRejects } from "@std/assert";
import { CheckpointError } from "../../../src/train/checkpoint/checkpoint_error.ts";
import { checkpointToResume, newestWithState } from "../../../src/train/checkpoint/model_alone.ts";
import { checkResumedType } from "../../../src/train/checkpoint/run_state.ts";
import { largestDifference } from "../largest_difference.ts";
import { tinySFT } from "../sft/tiny_sft.ts";

const SETTINGS = ["training.max_steps=4", "training.save_steps=2"];
const ALONE = [
  ...SETTINGS,
  "training.save_only_model=true",
  "training.save_total_limit=null",
];

const exists = (path: string) => Deno.stat(path).then(() => true, () => false);

Deno.test("save_only_model leaves out the moments; its checkpoints are refused with the way out", async () => {
  await using whole = await tinySFT(SETTINGS);
  await whole.trainer.train();
  await using run = await tinySFT(ALONE);
  await run.trainer.train();
  const folder = `${run.folder}/checkpoint-4`;
  assertEquals(await exists(`${folder}/optimizer.safetensors`), false);
  const [own, wanted] = await Promise.all(
    [folder, `${whole.folder}/checkpoint-4`].map((each) =>
      Deno.readFile(`${each}/model.safetensors`)
    ),
  );
  assertEquals(own, wanted);
  await using again = await tinySFT(ALONE);
  const before = await again.weights();
  const error = await assertRejects(
    () => again.trainer.resume(folder),
    CheckpointError,
    "save_only_model",
  );
  assert(error.message.includes(`set model.model_name_or_path to ${folder}`), error.message);
  assertEquals(again.trainer.step, 0);
  assertEquals(largestDifference(await again.weights(), before), 0);
  await assertRejects(
    () => checkResumedType(folder, run.folder, "sft"),
    CheckpointError,
    "no state",
  );
  // With `auto` the same, since nothing else is there: a new beginning would lose what was trained.
  await assertRejects(() => checkpointToResume(run.folder, () => {}), CheckpointError, "no state");
});

Deno.test("a run begins from the weights of a checkpoint that holds a model alone", async () => {
  await using run = await tinySFT(ALONE);
  await run.trainer.train();
  const last = await run.weights();
  const name = JSON.stringify(`${run.folder}/checkpoint-4`);
  await using next = await tinySFT([
    `model.model_name_or_path=${name}`,
    "model.initialize_from_config=false",
  ]);
  assertEquals(largestDifference(await next.weights(), last), 0);
});

Deno.test("an interrupted run with save_only_model has a whole checkpoint, and goes on to the same bytes", async () => {
  await using whole = await tinySFT([...ALONE, "training.max_steps=6"]);
  await whole.trainer.train();
  for (const stopAt of [2, 3]) { // at step 2 a checkpoint without moments is there already
    const controller = new AbortController();
    await using stopped = await tinySFT([...ALONE, "training.max_steps=6"], {
      signal: controller.signal,
      callbacks: [{
        onStepEnd: ({ step }) => void (stopAt === 3 && step === 3 && controller.abort()),
        onSave: () => void (stopAt === 2 && controller.abort()),
      }],
    });
    const { status, step } = await stopped.trainer.train();
    assertEquals([status, step], ["interrupted", stopAt]);
    const left: string[] = [];
    const newest = await newestWithState(stopped.folder, (text) => void left.push(text));
    assertEquals([newest?.step, left], [stopAt, []]);
    await using again = await tinySFT([...ALONE, "training.max_steps=6"], {
      folder: stopped.folder,
    });
    assertEquals(await again.trainer.resume("auto"), stopAt);
    await again.trainer.train();
    assertEquals(largestDifference(await again.weights(), await whole.weights()), 0);
    // The newer checkpoints hold the model alone: the whole one is taken, and they are named.
    const problems: string[] = [];
    const path = await checkpointToResume(stopped.folder, (text) => void problems.push(text));
    assertEquals(path, `${stopped.folder}/checkpoint-${stopAt}`);
    assert(problems.every((text) => text.includes("it holds the model alone")), `${problems}`);
    assert(problems.length > 0);
  }
});

Deno.test("load_best_model_at_end works with save_only_model", async () => {
  await using run = await tinySFT([
    ...ALONE,
    "training.eval_strategy=steps",
    "training.eval_steps=2",
    "training.load_best_model_at_end=true",
  ]);
  await run.trainer.train();
  assert(run.trainer.bestCheckpoint !== null);
});
