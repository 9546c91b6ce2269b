/**
 * `run_state.json`: what a resumed run needs beside Transformers' `trainer_state.json`: whose
 * checkpoint it is, data cursor, random counters, schedule, loss scale.
 *
 * Checkpoints of format 1 had all of it in `trainer_state.json`; they still load.
 *
 * @module
 */
import type { ScheduleState } from "../optimizer/learning_rate_schedule.ts";
import type { LossScalerState } from "../loop/loss_scaler.ts";
import type { MetricsWindowState } from "../loop/metrics_window.ts";
import type { MethodState } from "../loop/training_method.ts";
import { CheckpointError } from "./checkpoint_error.ts";
import { listCheckpoints } from "./checkpoint_folder.ts";
import type { RunIdentity } from "./run_identity.ts";
import { TRAINER_STATE_FILE, type TrainerState } from "./transformers_state.ts";

/** Name of the file. */
export const RUN_STATE_FILE = "run_state.json";

/** Raised when a field changes its meaning, so that an older program refuses a newer checkpoint. */
export const CHECKPOINT_FORMAT = 2;

/** What the file holds. */
export interface RunState {
  /** {@linkcode CHECKPOINT_FORMAT} of the program that wrote it. */
  readonly format: number;
  /** `sft`, `dpo`, `grpo` or `gkd`. */
  readonly training_type: string;
  /** Null: unknown, in a checkpoint of format 1. */
  readonly identity: RunIdentity | null;
  /** Data cursor and random counters of the training method. */
  readonly method: MethodState;
  readonly schedule: ScheduleState;
  /** Updates that each parameter has had. */
  readonly optimizer_steps: Readonly<Record<string, number>>;
  /** Numbers that the optimizer keeps for a group; schedule-free AdamW alone has them. */
  readonly optimizer_numbers?: Readonly<Record<string, number>>;
  /** Loss, gradient norm and steps since the last log. */
  readonly window: MetricsWindowState;
  /** Of a run in fp16, as GradScaler keeps it. */
  readonly scaler?: LossScalerState;
  /** Steps without an update because their gradients overflowed: the schedule stood still then. */
  readonly skipped_steps?: number;
  /** Set if Ctrl-C cut off the step's evaluation: a resumed run begins with it. */
  readonly unevaluated_step?: { readonly epoch_ended: boolean };
  /** Set if the checkpoint has no moments (`save_only_model`): no run can go on from it. */
  readonly model_alone?: true;
}

/** Both files of a checkpoint. */
export interface CheckpointState {
  readonly trainer: TrainerState;
  readonly run: RunState;
}

async function readJson(folder: string, file: string): Promise<Record<string, unknown> | null> {
  try {
    const value: unknown = JSON.parse(await Deno.readTextFile(`${folder}/${file}`));
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return { ...value };
    // deno-lint-ignore nanovlm/error-start -- a reason, which the text below takes in
    throw new Error("it is not a JSON object");
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw new CheckpointError(
      `Cannot resume from ${folder}: ${file} cannot be read (${
        error instanceof Error ? error.message : error
      }); give another checkpoint with --resume DIR`,
    );
  }
}

/**
 * GRPO's state alone counts sampled completions. Every step of DPO measures margins, which stand in
 * the log or, before the next log, in the window.
 */
function trainingTypeOfFormat1(state: Record<string, unknown>): string {
  const { method, log_history, window } = state;
  if ("sampled" in (method as object)) return "grpo";
  return JSON.stringify([log_history, window]).includes("rewards/margins") ? "dpo" : "sft";
}

function runStateOfFormat1(folder: string, state: Record<string, unknown>): RunState {
  const { method, schedule, optimizer_steps, window } = state;
  if (typeof method !== "object" || method === null) {
    throw new CheckpointError(
      `Cannot resume from ${folder}: it has no ${RUN_STATE_FILE}, so it is Transformers' checkpoint ` +
        "and not ours, and its optimizer cannot be read; to begin from its weights, set " +
        `model.model_name_or_path to ${folder}, without --resume`,
    );
  }
  return {
    format: 1,
    training_type: trainingTypeOfFormat1(state),
    identity: null,
    method: { ...method },
    schedule: schedule as ScheduleState,
    optimizer_steps: optimizer_steps as RunState["optimizer_steps"],
    window: window as MetricsWindowState,
    ...(state.scaler ? { scaler: state.scaler as LossScalerState } : {}),
    ...(state.skipped_steps ? { skipped_steps: Number(state.skipped_steps) } : {}),
    ...(state.unevaluated_step
      ? { unevaluated_step: state.unevaluated_step as RunState["unevaluated_step"] }
      : {}),
  };
}

/**
 * The state of a checkpoint.
 *
 * @throws {CheckpointError} if a file cannot be read, or a newer program wrote it
 */
export async function readCheckpointState(folder: string): Promise<CheckpointState> {
  const trainer = await readJson(folder, TRAINER_STATE_FILE);
  if (trainer === null) {
    throw new CheckpointError(
      `Cannot resume from ${folder}: it has no ${TRAINER_STATE_FILE}; give another checkpoint with ` +
        "--resume DIR",
    );
  }
  const run = await readJson(folder, RUN_STATE_FILE);
  if (run !== null && !(Number(run.format) <= CHECKPOINT_FORMAT)) {
    throw new CheckpointError(
      `Cannot resume from ${folder}: its ${RUN_STATE_FILE} has format ${run.format}, and this ` +
        `version reads up to ${CHECKPOINT_FORMAT}; update @nanovlm/lab`,
    );
  }
  return {
    // Both files were written by the functions beside this one, and the manifest holds their hashes.
    trainer: trainer as unknown as TrainerState,
    run: run === null ? runStateOfFormat1(folder, trainer) : run as unknown as RunState,
  };
}

/**
 * Checks that a checkpoint is of one kind of training: cursor and counters of another mean other
 * things.
 *
 * @throws {CheckpointError} if it is of another
 */
export function checkTrainingType(folder: string, { run }: CheckpointState, wanted: string): void {
  const found = run.training_type;
  if (found === wanted) return;
  throw new CheckpointError(
    `Cannot resume ${wanted} from ${folder}: the checkpoint is of a run of ${found}; to train ` +
      `what ${found} has made, set model.model_name_or_path to that folder (its merged model, if ` +
      "it holds an adapter) and training.output_dir to a new one, without --resume",
  );
}

/**
 * Checks that a run can go on from a checkpoint: it has moments, cursor and schedule.
 *
 * @throws {CheckpointError} if it holds the model alone
 */
export function checkHasState(folder: string, run: Pick<RunState, "model_alone">): void {
  if (!run.model_alone) return;
  throw new CheckpointError(
    `Cannot resume from ${folder}: it was saved with training.save_only_model: true, so it has no ` +
      "state of the optimizer and the run cannot go on from it. A new run can begin from its " +
      `weights: set model.model_name_or_path to ${folder} (an adapter: to the folder that "merge" ` +
      "makes of it) and training.output_dir to a new folder, without --resume. To be able to " +
      "resume, train without save_only_model",
  );
}

/**
 * What can be told of a resume before model and data are loaded: the training type of the checkpoint
 * that it would go on from, and whether a named one has what a resume needs.
 *
 * @param resume a checkpoint's folder, or `auto`; undefined: no resume
 * @param outputDir where `auto` looks
 * @throws {CheckpointError} if the checkpoint is of another kind of training, or holds a model alone
 */
export async function checkResumedType(
  resume: string | undefined,
  outputDir: string,
  wanted: string,
): Promise<void> {
  if (resume === undefined) return;
  const folder = resume === "auto" ? (await listCheckpoints(outputDir)).at(-1)?.path : resume;
  if (folder === undefined) return;
  const state = await readCheckpointState(folder);
  checkTrainingType(folder, state, wanted);
  // `auto` takes an older one that is whole, if there is one.
  if (resume !== "auto") checkHasState(folder, state.run);
}
