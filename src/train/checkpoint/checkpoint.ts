/**
 * What a checkpoint holds and how a run goes on from one.
 *
 * `checkpoint-N/` has the model (its folder, or the adapter's), `optimizer.safetensors` with the
 * optimizer's state of every trainable tensor, `reference.safetensors` if the reference follows the
 * policy, `trainer_state.json` with the step and the log under
 * Transformers' keys, and `run_state.json` with the data cursor, the random counters and the
 * schedule. Everything is stored as it is, so that a resumed run goes on to the bit.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { readSafetensorsHeader } from "../../model/safetensors/reader.ts";
import { readSafetensors, writeSafetensors } from "../../model/safetensors/safetensors.ts";
import { fileNamesOf } from "../../model/families/families.ts";
import type { Optimizer, StoredState } from "../optimizer/optimizer.ts";
import { CheckpointError } from "./checkpoint_error.ts";
import { REFERENCE_FILE } from "./reference_file.ts";
import { checkpointProblem, writeCheckpoint } from "./checkpoint_folder.ts";
import { type CheckpointState, RUN_STATE_FILE } from "./run_state.ts";
import { TRAINER_STATE_FILE } from "./transformers_state.ts";

export { CheckpointError };

const OPTIMIZER_FILE = "optimizer.safetensors";

/**
 * Writes `checkpoint-STEP`: aside, synced, renamed.
 *
 * @param outputDir the run's folder; the step is the state's
 * @param saveModel writes the model's or adapter's files into the folder that it gets
 * @param optimizer trainable tensors and their state
 * @param state everything else; if it says `model_alone`, the optimizer's state is left out
 * @throws {SaveError} if the disk is full, read-only or forbidden; nothing is left behind then
 */
export async function saveCheckpoint(
  outputDir: string,
  saveModel: (folder: string) => Promise<void>,
  optimizer: Optimizer,
  state: CheckpointState,
): Promise<string> {
  const { arrays, steps, numbers } = await optimizer.state();
  return await writeCheckpoint(outputDir, state.trainer.global_step, async (temporary) => {
    await saveModel(temporary);
    if (!state.run.model_alone) {
      const entries = Array.from(arrays, ([name, stored]) => ({ name, ...stored }));
      await writeSafetensors(`${temporary}/${OPTIMIZER_FILE}`, entries, { dtype: "F32" });
    }
    const write = (file: string, value: unknown) =>
      Deno.writeTextFile(`${temporary}/${file}`, JSON.stringify(value, null, 2) + "\n");
    await write(TRAINER_STATE_FILE, state.trainer);
    await write(RUN_STATE_FILE, {
      ...state.run,
      optimizer_steps: steps,
      ...(Object.keys(numbers).length > 0 ? { optimizer_numbers: numbers } : {}),
    });
  });
}

/** Names under which a checkpoint's model files may hold a trainable tensor. */
function candidates(name: string): string[] {
  return fileNamesOf(name).flatMap((own) => [own, `base_model.model.${own}`]);
}

/**
 * Checks that a folder is a whole checkpoint.
 *
 * @throws {CheckpointError} if it is missing, no checkpoint, or torn
 */
export async function checkResumable(folder: string): Promise<void> {
  const isFolder = await Deno.stat(folder).then(({ isDirectory }) => isDirectory, () => false);
  const problem = isFolder ? await checkpointProblem(folder) : "there is no such folder";
  if (problem === null) return;
  throw new CheckpointError(
    `Cannot resume from ${folder}: ${problem}; give another checkpoint, or --resume alone for the ` +
      "newest whole one of the output folder",
  );
}

/**
 * Assigns a checkpoint's tensors to the parameters.
 *
 * @param folder the checkpoint
 * @param parameters what trains
 * @throws {CheckpointError} if a tensor is missing or has another shape; nothing is changed then
 */
export async function loadWeights(
  folder: string,
  parameters: ReadonlyMap<string, tf.Variable>,
): Promise<void> {
  const files: string[] = [];
  for await (const { name } of Deno.readDir(folder)) {
    if (name === OPTIMIZER_FILE || name === REFERENCE_FILE) continue;
    if (name.endsWith(".safetensors")) files.push(`${folder}/${name}`);
  }
  const missing = new Map(parameters);
  const assignments: (() => void)[] = [];
  const known = new Set<string>();
  for (const file of files) {
    for (const name of readSafetensorsHeader(file).entries.keys()) known.add(name);
  }
  // A family may leave out leading dims of 1.
  const dims = (shape: readonly number[]) => shape.join().replace(/^(1,)+/, "");
  for (const file of files.sort()) {
    const tensors = await readSafetensors(file);
    for (const [name, parameter] of missing) {
      // The first name that any of the files has.
      const key = candidates(name).find((each) => known.has(each));
      const found = key === undefined ? undefined : tensors.get(key);
      if (!found) continue;
      if (dims(found.shape) !== dims(parameter.shape) || !(found.data instanceof Float32Array)) {
        throw new CheckpointError(
          `Cannot resume from ${folder}: ${name} is [${found.shape}] there, the config makes it ` +
            `[${parameter.shape}]`,
        );
      }
      const data = found.data;
      assignments.push(() => tf.tidy(() => parameter.assign(tf.tensor(data, parameter.shape))));
      missing.delete(name);
    }
  }
  if (missing.size > 0) {
    throw new CheckpointError(
      `Cannot resume from ${folder}: it has no ${[...missing.keys()].slice(0, 3).join(", ")}` +
        `${missing.size > 3 ? ` and ${missing.size - 3} more` : ""}; was it written by another ` +
        "config?",
    );
  }
  for (const assign of assignments) assign();
}

/**
 * Assigns a checkpoint's tensors and the optimizer's state.
 *
 * @param folder the checkpoint
 * @param state what it says, read before
 * @param optimizer of the new run, made from the same config
 * @throws {CheckpointError} if a tensor is missing or has another shape
 */
export async function loadCheckpoint(
  folder: string,
  { run }: CheckpointState,
  optimizer: Optimizer,
): Promise<void> {
  await loadWeights(folder, optimizer.parameters);
  const arrays = await readSafetensors(`${folder}/${OPTIMIZER_FILE}`);
  optimizer.restore({
    steps: { ...run.optimizer_steps },
    arrays: arrays as ReadonlyMap<string, StoredState>,
    numbers: { ...run.optimizer_numbers },
  });
}
