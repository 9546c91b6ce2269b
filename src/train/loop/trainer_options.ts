/**
 * The options, callbacks and result of a trainer.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import type { ResolvedConfig, TrainingSection } from "../../config/types/config_types.ts";
import type { Ranks } from "../../distributed/ranks.ts";
import type { MetricsRecord } from "../../report/files/metrics_record.ts";
import type { Reporter } from "../../report/reporter.ts";
import type { LossScaler } from "./loss_scaler.ts";
import type { ParameterGroup } from "../optimizer/optimizer.ts";

/** Called during a run; every function is optional. */
export interface TrainerCallback {
  /** After an optimizer step. Returning `"stop"` ends the run after saving. */
  onStepEnd?(state: ProgressState): void | "stop" | Promise<void | "stop">;
  /** With each record that goes to metrics.jsonl. */
  onLog?(record: MetricsRecord): void | Promise<void>;
  /** After an evaluation. */
  onEvaluate?(record: MetricsRecord): void | Promise<void>;
  /** After a checkpoint. */
  onSave?(folder: string): void | Promise<void>;
}

/** The progress of a run. */
export interface ProgressState {
  readonly step: number;
  readonly totalSteps: number;
  readonly epoch: number;
}

/** What a trainer needs beside model and data. */
export interface TrainerOptions {
  readonly training: TrainingSection;
  /**
   * The whole config: checkpoints record its settings, and a resume compares them; default:
   * `training` alone.
   */
  readonly config?: ResolvedConfig;
  /** What trains, and how fast. */
  readonly groups: readonly ParameterGroup[];
  /** Every weight by name, frozen ones included, to tell which one is bad; default: what trains. */
  readonly weights?: ReadonlyMap<string, tf.Tensor>;
  /** Writes the model's or adapter's files into a folder. */
  readonly saveModel: (folder: string) => Promise<void>;
  readonly reporter: Reporter;
  readonly callbacks?: readonly TrainerCallback[];
  /** Only in fp16; default: one with GradScaler's numbers. */
  readonly lossScaler?: LossScaler;
  /** Further metrics of each log, which no number of the run depends on. */
  readonly runMetrics?: () => Readonly<Record<string, number>>;
  /** Aborted by Ctrl-C: the run saves a checkpoint and stops. */
  readonly signal?: AbortSignal;
  /**
   * The processes that train together; default: those that were started. Rank 0 evaluates and writes
   * files, and the others get what it finds.
   */
  readonly ranks?: Ranks;
}

/** How a run ended. */
export interface TrainResult {
  readonly status: "done" | "interrupted" | "stopped";
  readonly step: number;
  /** Mean loss of all steps. */
  readonly trainLoss: number;
  /** Metrics of the last evaluation. */
  readonly evaluation: Readonly<Record<string, number>> | null;
  /** Why it was stopped, if early stopping did it. */
  readonly reason?: string;
}

/** How a checkpoint is written. */
export interface SaveOptions {
  /** Write it even if the step has one already; default: nothing happens then. */
  readonly anew?: boolean;
  /** False if rank 0 alone calls it; default true. */
  readonly together?: boolean;
  /**
   * With the moments of the optimizer, whatever `save_only_model` says, since the run is to go on
   * from it; default false.
   */
  readonly whole?: boolean;
}
