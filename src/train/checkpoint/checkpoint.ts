/**
 * What a checkpoint holds and how a run goes on from one.
 *
 * `checkpoint-N/` has the model (its folder, or the adapter's), `optimizer.safetensors` with both
 * moments of every trainable tensor, and `trainer_state.json` with the step, the data cursor, the
 * random counters, the schedule and the log. Everything is float32 or JSON, so that a resumed run
 * goes on to the bit.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { readSafetensors, writeSafetensors } from "../../model/safetensors/safetensors.ts";
import type { MetricsRecord } from "../../report/files/metrics_record.ts";
import { checkpointProblem, writeCheckpoint } from "./checkpoint_folder.ts";
import type { ScheduleState } from "../optimizer/learning_rate_schedule.ts";
import type { LossScalerState } from "../loop/loss_scaler.ts";
import type { MetricsWindowState } from "../loop/metrics_window.ts";
import type { Optimizer } from "../optimizer/optimizer.ts";
import type { MethodState } from "../loop/training_method.ts";

const OPTIMIZER_FILE = "optimizer.safetensors";
const STATE_FILE = "trainer_state.json";
/** torch's names for the two moments. */
const FIRST = "exp_avg.", SECOND = "exp_avg_sq.";

/** `trainer_state.json`: Transformers' keys, then ours. */
export interface TrainerState {
  global_step: number;
  epoch: number;
  max_steps: number;
  best_metric: number | null;
  best_model_checkpoint: string | null;
  log_history: MetricsRecord[];
  /** Data cursor and random counters of the training method. */
  method: MethodState;
  schedule: ScheduleState;
  /** Updates that each parameter has had. */
  optimizer_steps: Record<string, number>;
  /** Loss, gradient norm and steps since the last log. */
  window: MetricsWindowState;
  /** Of a run in fp16, as GradScaler keeps it. */
  scaler?: LossScalerState;
  /** Steps without an update, since their gradients overflowed: the schedule did not go on then. */
  skipped_steps?: number;
  /** Where Ctrl-C cut off the step's evaluation: a resumed run begins with it. */
  unevaluated_step?: { epoch_ended: boolean };
}

/** A checkpoint that a run cannot go on from. */
export class CheckpointError extends Error {
  override readonly name = "CheckpointError";
}

/**
 * Writes `checkpoint-STEP`: aside, synced, renamed.
 *
 * @param outputDir the run's folder; the step is the state's
 * @param saveModel writes the model's or adapter's files into the folder that it gets
 * @param optimizer trainable tensors and moments
 * @param state everything else
 * @throws {SaveError} where the disk is full, read-only or forbidden; nothing is left behind then
 */
export async function saveCheckpoint(
  outputDir: string,
  saveModel: (folder: string) => Promise<void>,
  optimizer: Optimizer,
  state: TrainerState,
): Promise<string> {
  const moments = await optimizer.state();
  const shapes = optimizer.parameters;
  return await writeCheckpoint(outputDir, state.global_step, async (temporary) => {
    await saveModel(temporary);
    const entries = [...moments.firstMoments].flatMap(([name, first]) => {
      const shape = shapes.get(name)!.shape;
      return [
        { name: FIRST + name, shape, data: first },
        { name: SECOND + name, shape, data: moments.secondMoments.get(name)! },
      ];
    });
    await writeSafetensors(`${temporary}/${OPTIMIZER_FILE}`, entries, { dtype: "F32" });
    await Deno.writeTextFile(
      `${temporary}/${STATE_FILE}`,
      JSON.stringify({ ...state, optimizer_steps: moments.steps }, null, 1),
    );
  });
}

/** The state of a checkpoint. */
export async function readTrainerState(folder: string): Promise<TrainerState> {
  try {
    return JSON.parse(await Deno.readTextFile(`${folder}/${STATE_FILE}`));
  } catch (error) {
    throw new CheckpointError(
      `Cannot resume from ${folder}: ${STATE_FILE} cannot be read (${
        error instanceof Error ? error.message : error
      }); give another checkpoint with --resume DIR`,
    );
  }
}

/** Where a trainable tensor's values are in a checkpoint's model files. */
function candidates(name: string): string[] {
  return [name, `base_model.model.${name}`];
}

/**
 * Sees that a folder is a whole checkpoint.
 *
 * @throws {CheckpointError} where it is missing, no checkpoint, or torn
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
 * Puts a checkpoint's tensors in their places.
 *
 * @param folder the checkpoint
 * @param parameters what trains
 * @throws {CheckpointError} where a tensor is missing or has another shape; nothing is changed then
 */
export async function loadWeights(
  folder: string,
  parameters: ReadonlyMap<string, tf.Variable>,
): Promise<void> {
  const files: string[] = [];
  for await (const { name } of Deno.readDir(folder)) {
    if (name.endsWith(".safetensors") && name !== OPTIMIZER_FILE) files.push(`${folder}/${name}`);
  }
  const missing = new Map(parameters);
  const assignments: (() => void)[] = [];
  for (const file of files.sort()) {
    const tensors = await readSafetensors(file);
    for (const [name, parameter] of missing) {
      const found = candidates(name).map((key) => tensors.get(key)).find((tensor) => tensor);
      if (!found) continue;
      if (found.shape.join() !== parameter.shape.join() || !(found.data instanceof Float32Array)) {
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
 * Puts a checkpoint's tensors and moments in their places.
 *
 * @param folder the checkpoint
 * @param optimizer of the new run, made from the same config
 * @returns the rest of the state
 * @throws {CheckpointError} where a tensor is missing or has another shape
 */
export async function loadCheckpoint(folder: string, optimizer: Optimizer): Promise<TrainerState> {
  const state = await readTrainerState(folder);
  await loadWeights(folder, optimizer.parameters);
  const moments = await readSafetensors(`${folder}/${OPTIMIZER_FILE}`);
  const pick = (prefix: string) =>
    new Map(
      [...moments].filter(([name]) => name.startsWith(prefix))
        .map(([name, { data }]) => [name.slice(prefix.length), data as Float32Array]),
    );
  optimizer.restore({
    steps: state.optimizer_steps,
    firstMoments: pick(FIRST),
    secondMoments: pick(SECOND),
  });
  return state;
}
