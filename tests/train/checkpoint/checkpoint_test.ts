import { assert, assertEquals, assertRejects } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { readSafetensors } from "../../../src/model/safetensors/safetensors.ts";
import {
  CheckpointError,
  checkResumable,
  loadCheckpoint,
  loadWeights,
} from "../../../src/train/checkpoint/checkpoint.ts";
import { readCheckpointState } from "../../../src/train/checkpoint/run_state.ts";
import { largestDifference } from "../dpo/tiny_dpo.ts";
import { LORA, tinySFT } from "../sft/tiny_sft.ts";

for (const [kind, extra] of [["the whole model", []], ["an adapter", LORA]] as const) {
  Deno.test(`a checkpoint of ${kind} holds weights, moments and state, and loads to the bit`, async () => {
    const settings = [...extra, "training.max_steps=3", "training.save_steps=3"];
    await using run = await tinySFT(settings);
    await run.trainer.train();
    const folder = `${run.folder}/checkpoint-3`;
    const state = await readCheckpointState(folder);
    assertEquals([state.trainer.global_step, state.trainer.max_steps], [3, 3]);
    assert(state.trainer.log_history.length > 0 && "cursor" in state.run.method);
    const moments = await readSafetensors(`${folder}/optimizer.safetensors`);
    assertEquals(moments.size, 2 * run.trainer.optimizer.parameters.size);
    assert([...moments.keys()].every((name) => /^exp_avg(_sq)?\./.test(name)));

    await using other = await tinySFT([...settings, "training.seed=7"]);
    const fresh = await other.weights();
    assert(largestDifference(fresh, await run.weights()) > 0);
    await loadCheckpoint(folder, state, other.trainer.optimizer);
    assertEquals(largestDifference(await other.weights(), await run.weights()), 0);
    const before = await run.trainer.optimizer.state();
    const after = await other.trainer.optimizer.state();
    assertEquals(after.steps, before.steps);
    assertEquals(after.arrays, before.arrays);
  });
}

Deno.test("checkResumable() refuses what is missing, empty or torn, and says which file", async () => {
  await using run = await tinySFT(["training.max_steps=1"]);
  await run.trainer.train();
  const folder = `${run.folder}/checkpoint-1`;
  await checkResumable(folder);
  const fails = (path: string, says: string) =>
    assertRejects(() => checkResumable(path), CheckpointError, says);
  await fails(`${run.folder}/none`, "there is no such folder");
  await Deno.mkdir(`${run.folder}/empty`);
  await fails(`${run.folder}/empty`, "it has neither");
  const file = `${folder}/model.safetensors`;
  const bytes = await Deno.readFile(file);
  bytes[bytes.length - 1] ^= 1;
  await Deno.writeFile(file, bytes);
  await fails(folder, "the contents of model.safetensors are not those that were written");
  await Deno.remove(file);
  await fails(folder, "model.safetensors is missing");
});

Deno.test("loadWeights() changes nothing if a tensor is missing", async () => {
  await using run = await tinySFT(["training.max_steps=1"]);
  await run.trainer.train();
  await using adapted = await tinySFT(LORA);
  const before = await adapted.weights();
  await assertRejects(
    () => loadWeights(`${run.folder}/checkpoint-1`, adapted.trainer.optimizer.parameters),
    CheckpointError,
    "was it written by another config?",
  );
  assertEquals(largestDifference(await adapted.weights(), before), 0);
});

for (const [what, overrides] of [["the model", []], ["an adapter", LORA]] as const) {
  Deno.test(`a checkpoint with ${what} holds one tensor at a time, and no copy of the moments`, async () => {
    await using run = await tinySFT([
      "training.max_steps=1",
      "training.save_strategy=no",
      ...overrides,
    ]);
    await run.trainer.train();
    const events: string[] = [];
    const { dataSync, data } = tf.Tensor.prototype;
    const { writeSync } = Deno.FsFile.prototype;
    tf.Tensor.prototype.dataSync = function () {
      events.push("read");
      return dataSync.call(this) as never;
    };
    Deno.FsFile.prototype.writeSync = function (bytes) {
      events.push("write");
      return writeSync.call(this, bytes);
    };
    tf.Tensor.prototype.data = function () {
      events.push("read together");
      return data.call(this) as never;
    };
    try {
      await run.options.saveModel(run.folder);
    } finally {
      Object.assign(tf.Tensor.prototype, { dataSync, data });
      Object.assign(Deno.FsFile.prototype, { writeSync });
    }
    const reads = events.filter((event) => event === "read").length;
    assert(reads > 3 && !events.includes("read together"), `${events}`);
    assert(!events.some((event, i) => event === "read" && events[i + 1] === event), `${events}`);
    const { arrays } = await run.trainer.optimizer.state();
    const again = (await run.trainer.optimizer.state()).arrays;
    for (const [name, { data }] of arrays) assert(again.get(name)!.data === data, name);
  });
}
