import { assert, assertEquals } from "@std/assert";
import { tinySFT } from "../sft/tiny_sft.ts";

/** `NANOVLM_TEST_PYTHON` names a Python with transformers; else `python3`. */
const python = Deno.env.get("NANOVLM_TEST_PYTHON") ?? "python3";

/** Whether `from transformers import TrainerState` works. */
function hasTransformers(): boolean {
  try {
    return new Deno.Command(python, {
      args: ["-c", "from transformers import TrainerState"],
      stderr: "null",
    }).outputSync().success;
  } catch {
    return false;
  }
}
const skipped = hasTransformers() ? "" : ` (skipped: ${python} cannot import transformers)`;

/**
 * The dataclass's fields and what JSON may hold for them. Recorded from Transformers 5.24 with
 * `dataclasses.fields(TrainerState)`.
 */
const FIELDS: Record<string, readonly string[]> = {
  best_global_step: ["null", "integer"],
  best_metric: ["null", "integer", "float"],
  best_model_checkpoint: ["null", "string"],
  epoch: ["integer", "float"],
  eval_steps: ["integer"],
  global_step: ["integer"],
  is_hyper_param_search: ["boolean"],
  is_local_process_zero: ["boolean"],
  is_world_process_zero: ["boolean"],
  log_history: ["array"],
  logging_steps: ["integer"],
  max_steps: ["integer"],
  num_input_tokens_seen: ["integer"],
  num_train_epochs: ["integer"],
  save_steps: ["integer"],
  stateful_callbacks: ["object"],
  total_flos: ["integer", "float"],
  train_batch_size: ["null", "integer"],
  trial_name: ["null", "string"],
  trial_params: ["null"],
};

function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "float";
  return typeof value;
}

const SETTINGS = [
  "training.max_steps=4",
  "training.save_steps=2",
  "training.logging_steps=1",
  "training.eval_strategy=steps",
  "training.eval_steps=2",
];

Deno.test("trainer_state.json has Transformers' keys with values of their types, and no others", async () => {
  await using run = await tinySFT(SETTINGS);
  await run.trainer.train();
  const text = await Deno.readTextFile(`${run.folder}/checkpoint-4/trainer_state.json`);
  const state: Record<string, unknown> = JSON.parse(text);
  assertEquals(Object.keys(state).sort(), Object.keys(FIELDS));
  for (const [key, kinds] of Object.entries(FIELDS)) {
    assert(kinds.includes(kindOf(state[key])), `${key}: ${JSON.stringify(state[key])}`);
  }
  assertEquals([state.global_step, state.max_steps, state.save_steps], [4, 4, 2]);
  assertEquals(state.best_model_checkpoint, run.trainer.bestCheckpoint);
  assertEquals(
    state.best_global_step,
    Number(String(run.trainer.bestCheckpoint).split("-").at(-1)),
  );
  const history = state.log_history as Record<string, unknown>[];
  assert(history.length >= 4);
  for (const record of history) {
    assertEquals(kindOf(record.step), "integer");
    assert(["integer", "float"].includes(kindOf(record.epoch)));
  }
});

Deno.test({
  name: `Transformers' TrainerState.load_from_json reads our checkpoint${skipped}`,
  ignore: skipped !== "",
  async fn() {
    await using run = await tinySFT(SETTINGS);
    await run.trainer.train();
    const folder = `${run.folder}/checkpoint-4`;
    const code = `
import json, sys
from transformers import TrainerState
state = TrainerState.load_from_json(sys.argv[1] + "/trainer_state.json")
state.save_to_json(sys.argv[1] + "/again.json")
print(json.dumps([state.global_step, state.best_global_step, len(state.log_history),
                  state.log_history[0]["loss"], state.stateful_callbacks]))`;
    const { success, stdout, stderr } = await new Deno.Command(python, {
      args: ["-c", code, folder],
    }).output();
    assert(success, new TextDecoder().decode(stderr));
    const ours = JSON.parse(await Deno.readTextFile(`${folder}/trainer_state.json`));
    const read = JSON.parse(new TextDecoder().decode(stdout).trim().split("\n").at(-1)!);
    assertEquals(read, [
      4,
      ours.best_global_step,
      ours.log_history.length,
      ours.log_history[0].loss,
      {},
    ]);
    assertEquals(JSON.parse(await Deno.readTextFile(`${folder}/again.json`)), ours);
  },
});
