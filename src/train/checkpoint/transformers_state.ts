/**
 * `trainer_state.json`: the state of a run as Transformers' Trainer writes it, key by key, so that
 * `TrainerState.load_from_json` and the tools built on it read our checkpoints. It refuses unknown
 * keys, therefore everything else stands in `run_state.json` (run_state.ts).
 *
 * Source: `TrainerState` in Transformers' trainer_callback.py, release 5.24.
 *
 * @module
 */
import type { EarlyStoppingCallbackState } from "../evaluation/early_stopping.ts";
import type { PacedTraining } from "../loop/intervals.ts";
import type { MetricsRecord } from "../../report/files/metrics_record.ts";

/** Name of the file. */
export const TRAINER_STATE_FILE = "trainer_state.json";

/** Transformers' keys. */
export interface TrainerState {
  readonly global_step: number;
  readonly epoch: number;
  readonly max_steps: number;
  readonly num_train_epochs: number;
  readonly logging_steps: number;
  readonly eval_steps: number;
  readonly save_steps: number;
  readonly train_batch_size: number;
  readonly best_metric: number | null;
  readonly best_global_step: number | null;
  readonly best_model_checkpoint: string | null;
  readonly log_history: MetricsRecord[];
  /** Not counted here; 0, as Trainer writes it when it does not count either. */
  readonly num_input_tokens_seen: number;
  readonly total_flos: number;
  readonly is_local_process_zero: boolean;
  readonly is_world_process_zero: boolean;
  readonly is_hyper_param_search: boolean;
  readonly trial_name: string | null;
  readonly trial_params: null;
  readonly stateful_callbacks: Readonly<Record<string, EarlyStoppingCallbackState>>;
}

/** The keys whose values a run gives; all others are constants or the config's. */
export type RunProgress = Pick<
  TrainerState,
  | "global_step"
  | "epoch"
  | "max_steps"
  | "best_metric"
  | "best_model_checkpoint"
  | "log_history"
  | "stateful_callbacks"
>;

/** The step in a checkpoint's folder name; null for another name. */
function stepOf(folder: string | null): number | null {
  const match = /checkpoint-(\d+)[/\\]*$/.exec(folder ?? "");
  return match === null ? null : Number(match[1]);
}

/**
 * All keys, in Transformers' types.
 *
 * @param progress where the run stands
 * @param training the config's section
 * @param stepsPerEpoch null: unknown, as for a stream
 */
export function trainerState(
  progress: RunProgress,
  training: PacedTraining,
  stepsPerEpoch: number | null,
): TrainerState {
  const { max_steps } = progress;
  return {
    ...progress,
    best_global_step: stepOf(progress.best_model_checkpoint),
    num_train_epochs: Math.ceil(
      training.max_steps > 0 && stepsPerEpoch !== null
        ? max_steps / stepsPerEpoch
        : training.num_train_epochs,
    ),
    logging_steps: training.logging_steps,
    eval_steps: training.eval_steps,
    save_steps: training.save_steps,
    train_batch_size: training.per_device_train_batch_size,
    num_input_tokens_seen: 0,
    total_flos: 0,
    is_local_process_zero: true,
    is_world_process_zero: true,
    is_hyper_param_search: false,
    trial_name: null,
    trial_params: null,
  };
}
