/**
 * The loop that SFT, DPO and GRPO share: optimizer steps, schedules, logging, evaluation,
 * checkpoints, resuming, stopping. Semantics are those of Transformers' Trainer.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { assertNoGpuErrors } from "../../device/gpu_errors.ts";
import { gpuMemoryMetrics } from "../../device/memory.ts";
import type { MetricsRecord } from "../../report/files/metrics_record.ts";
import { BestCheckpoint, metricOf } from "../checkpoint/best_checkpoint.ts";
import { checkResumable, loadCheckpoint, saveCheckpoint } from "../checkpoint/checkpoint.ts";
import {
  listCheckpoints,
  newestCheckpoint,
  rotateCheckpoints,
} from "../checkpoint/checkpoint_folder.ts";
import { checkIdentity, type ResumeOptions } from "../checkpoint/resume_check.ts";
import { type RunIdentity, runIdentity } from "../checkpoint/run_identity.ts";
import {
  CHECKPOINT_FORMAT,
  type CheckpointState,
  checkTrainingType,
  readCheckpointState,
  type RunState,
} from "../checkpoint/run_state.ts";
import { trainerState } from "../checkpoint/transformers_state.ts";
import { divergedError } from "./diverged_error.ts";
import { findBadValue } from "../optimizer/first_bad_tensor.ts";
import { GradientAccumulator } from "./gradients.ts";
import { LossScaler } from "./loss_scaler.ts";
import { MetricsWindow } from "./metrics_window.ts";
import { NonFiniteError, Optimizer } from "../optimizer/optimizer.ts";
import { optimizerOptions, requireTrained } from "../optimizer/parameter_groups.ts";
import {
  createSchedule,
  type LearningRateSchedule,
  warmupStepCount,
} from "../optimizer/schedules.ts";
import { explainFailure } from "./step_failure.ts";
import { dueWork, totalSteps } from "./due_work.ts";
import type {
  ProgressState,
  TrainerCallback,
  TrainerOptions,
  TrainResult,
} from "./trainer_options.ts";
import { StepAborted, type StepOutcome, type TrainingMethod } from "./training_method.ts";

export type { ProgressState, TrainerCallback, TrainerOptions, TrainResult };

/** Whether the run continues after a step. */
type StepEnd = "go on" | "stop" | "interrupted";

/** A run of one training method. */
export class Trainer {
  readonly optimizer: Optimizer;
  readonly totalSteps: number;
  readonly #method: TrainingMethod;
  readonly #options: TrainerOptions;
  readonly #schedule: LearningRateSchedule;
  readonly #accumulator = new GradientAccumulator();
  /** Only in fp16. */
  readonly #scaler: LossScaler | null;
  #step = 0;
  /** Steps whose gradients overflowed: no update, and the schedule stays. */
  #skipped = 0;
  /** Steps done when this process began. */
  #firstStep = 0;
  #epoch = 0;
  readonly #window = new MetricsWindow();
  #history: MetricsRecord[] = [];
  readonly #best: BestCheckpoint;
  /** The last step if its evaluation was interrupted; its checkpoint says so. */
  #unevaluated: NonNullable<RunState["unevaluated_step"]> | null = null;
  #evaluation: Readonly<Record<string, number>> | null = null;

  /**
   * @param method how a step gets its gradients
   * @param options everything else
   * @throws {Error} if nothing trains, or the number of steps is not known
   */
  constructor(method: TrainingMethod, options: TrainerOptions) {
    const { training, groups } = options;
    requireTrained(groups);
    this.#method = method;
    this.#options = options;
    this.#best = new BestCheckpoint(training);
    this.#scaler = training.fp16 ? options.lossScaler ?? new LossScaler() : null;
    this.totalSteps = totalSteps(training, method.stepsPerEpoch);
    this.optimizer = new Optimizer(groups, optimizerOptions(training));
    this.#schedule = createSchedule({
      name: training.lr_scheduler_type,
      warmupSteps: warmupStepCount(this.totalSteps, {
        warmupRatio: training.warmup_ratio,
        warmupSteps: training.warmup_steps,
      }),
      totalSteps: this.totalSteps,
      baseLearningRate: groups[0].learningRate,
      groupLearningRates: groups.map(({ learningRate }) => learningRate),
      arguments: training.lr_scheduler_kwargs,
    });
  }

  /** Optimizer steps done. */
  get step(): number {
    return this.#step;
  }

  /**
   * Continues from a checkpoint: weights, moments, schedule, data cursor and random counters.
   *
   * @param folder a checkpoint's, or `auto`: the newest complete one of the output folder
   * @param options `anyway`: also if the run cannot continue as if it had never stopped
   * @returns the step that it continues from; null if `auto` finds none
   * @throws {CheckpointError} if the checkpoint is of another training type, or does not fit; or,
   *   without `anyway`, if data, seed, batch size or backend are others. Nothing is changed then
   */
  async resume(folder: string, options: ResumeOptions = {}): Promise<number | null> {
    const { reporter, training } = this.#options;
    const path = folder === "auto"
      ? (await newestCheckpoint(training.output_dir, (text) => reporter.onWarning(text)))?.path
      : folder;
    if (path === undefined) {
      const place = training.output_dir;
      reporter.onWarning(`${place} has no checkpoint to resume from; training starts anew`);
      return null;
    }
    await checkResumable(path);
    const state = await readCheckpointState(path);
    const { trainer, run } = state;
    checkTrainingType(path, state, this.#method.name);
    const { warnings, exact } = checkIdentity(path, run.identity, this.#identity(), options);
    for (const warning of warnings) reporter.onWarning(warning);
    await loadCheckpoint(path, state, this.optimizer);
    this.#method.restore(run.method, exact);
    this.#schedule.restore(run.schedule);
    if (run.scaler) this.#scaler?.restore(run.scaler);
    this.#skipped = run.skipped_steps ?? 0;
    this.#step = trainer.global_step;
    this.#firstStep = trainer.global_step;
    this.#epoch = trainer.epoch;
    this.#history = [...trainer.log_history];
    this.#best.restore(trainer);
    this.#unevaluated = run.unevaluated_step ?? null;
    this.#window.restore(run.window);
    return this.#step;
  }

  /**
   * Trains to the last step.
   *
   * @throws {NonFiniteError} if a loss or gradient is not finite; the last checkpoint stays
   * @throws {StepFailedError} if memory ran out or the device was lost; it says what is safe
   */
  async train(): Promise<TrainResult> {
    try {
      return await this.#train();
    } catch (error) {
      throw await explainFailure(error, {
        outputDir: this.#options.training.output_dir,
        step: Math.min(this.#step + 1, this.totalSteps),
        method: this.#method,
      });
    } finally {
      await this.#method.release();
    }
  }

  async #train(): Promise<TrainResult> {
    const { training, signal } = this.#options;
    const parameters = this.optimizer.parameters;
    let next: StepEnd = "go on";
    if (this.#unevaluated !== null) next = await this.#endStep(this.#unevaluated.epoch_ended, true);
    while (next === "go on" && this.#step < this.totalSteps) {
      if (signal?.aborted) return await this.#interrupted();
      const outcome = await this.#method.step({
        accumulator: this.#accumulator,
        parameters,
        step: this.#step,
        signal,
        more: this.#step + 1 < this.totalSteps,
        lossScale: this.#scaler?.scale,
      }).catch((error) => {
        if (error instanceof StepAborted) return error;
        throw error;
      });
      if (outcome instanceof StepAborted) return await this.#aborted(outcome);
      await this.#update(outcome);
      next = await this.#endStep(outcome.epochEnded);
    }
    if (next === "interrupted") return await this.#interrupted();
    await this.#checkWeights();
    if (training.load_best_model_at_end && !await this.#best.load(parameters)) {
      this.#options.reporter.onWarning(
        "load_best_model_at_end: no checkpoint was evaluated; the last weights stay",
      );
    }
    return this.#result(next === "stop" && this.#step < this.totalSteps ? "stopped" : "done");
  }

  /**
   * What follows an update: logs, evaluates, asks the callbacks, saves; each if it is due.
   *
   * @param resumed the step is a checkpoint's whose evaluation was cut off
   */
  async #endStep(epochEnded: boolean, resumed = false): Promise<StepEnd> {
    const { training, signal, callbacks } = this.#options;
    const [step, totalSteps] = [this.#step, this.totalSteps];
    const due = dueWork(training, { step, totalSteps, epochEnded });
    if (due.log) await this.#log(); // nothing if it was logged before
    if (due.evaluate) {
      try {
        await this.#evaluate();
      } catch (error) {
        if (!signal?.aborted || error !== signal.reason) throw error;
        this.#unevaluated = { epoch_ended: epochEnded };
        return "interrupted";
      }
    }
    this.#unevaluated = null;
    let stop = false;
    for (const callback of callbacks ?? []) {
      const state = { step, totalSteps, epoch: this.#epoch };
      if (await callback.onStepEnd?.(state) === "stop") stop = true;
    }
    const stops = stop && training.save_strategy !== "no";
    if (due.save || stops || resumed) await this.save({ anew: resumed });
    return stop ? "stop" : "go on";
  }

  /** Clips, updates, counts. */
  async #update(outcome: StepOutcome): Promise<void> {
    const { losses } = outcome;
    const lossScale = this.#scaler?.scale ?? 1;
    let measured: { gradNorm: number; losses: readonly number[] };
    let overflowed = false;
    try {
      measured = await this.optimizer.measure(this.#accumulator.gradients, losses, lossScale);
    } catch (error) {
      if (!(error instanceof NonFiniteError)) throw error;
      if (!this.#isOverflow(error)) throw await this.#diverged(error, this.#step + 1);
      overflowed = true;
      measured = { gradNorm: Infinity, losses: error.losses! };
    } finally {
      tf.dispose(losses);
    }
    // A device that reported an error may have computed anything: no update from it.
    assertNoGpuErrors();
    if (overflowed) this.#skipped++;
    else {
      const multiplier = this.#options.groups.map((_, group) =>
        this.#schedule.multiplier(this.#step - this.#skipped, group)
      );
      const { gradients } = this.#accumulator;
      this.optimizer.step(gradients, measured.gradNorm, multiplier, lossScale);
    }
    this.#scaler?.update(overflowed);
    this.#accumulator.reset();
    this.#step++;
    this.#epoch = outcome.epoch;
    const loss = measured.losses.reduce((sum, value) => sum + value, 0);
    this.#window.add(loss, measured.gradNorm, outcome);
    this.#options.reporter.onStep(this.#step, outcome.tokens);
  }

  /**
   * Whether a smaller loss scale may help: the loss is finite, its scaled gradients are not. At a
   * scale of 1 they are too large for float16 themselves.
   */
  #isOverflow({ losses }: NonFiniteError): boolean {
    return this.#scaler !== null && this.#scaler.scale > 1 && losses !== null;
  }

  /** The error of a run that diverged, with the batch kept beside it. */
  async #diverged(error: NonFiniteError, step: number): Promise<NonFiniteError> {
    this.#accumulator.reset();
    return await divergedError(error, {
      outputDir: this.#options.training.output_dir,
      step,
      batch: this.#method.describeLastBatch(),
      weights: this.#options.weights ?? this.optimizer.parameters,
      updated: this.#step > this.#firstStep,
      inFloat16: this.#scaler !== null,
    });
  }

  /** @throws {NonFiniteError} if the last update made a weight that is not finite */
  async #checkWeights(): Promise<void> {
    const bad = await findBadValue(this.optimizer.parameters);
    if (bad === null) return;
    throw await this.#diverged(new NonFiniteError("after its update", bad.name), this.#step);
  }

  async #log(): Promise<void> {
    const { groups, reporter } = this.#options;
    if (this.#window.steps === 0) return;
    const { loss, gradNorm, means } = this.#window.take();
    // The rates of the last update.
    const lastUpdate = Math.max(0, this.#step - 1 - this.#skipped);
    const rates = groups.map(({ name, learningRate }, group): [string, number] => [
      `learning_rate/${name}`,
      learningRate * this.#schedule.multiplier(lastUpdate, group),
    ]);
    const skipped = this.#method.skippedRows();
    const record: MetricsRecord = {
      step: this.#step,
      epoch: this.#epoch,
      loss,
      grad_norm: gradNorm,
      learning_rate: rates[0][1],
      ...Object.fromEntries(rates.length > 1 ? rates : []),
      ...means,
      ...(this.#scaler ? { loss_scale: this.#scaler.scale, skipped_steps: this.#skipped } : {}),
      ...(skipped.rows.length > 0 ? { skipped_rows: skipped.rows.length } : {}),
      ...gpuMemoryMetrics(),
    };
    const written = await reporter.onLog(record);
    this.#history.push(record);
    for (const callback of this.#options.callbacks ?? []) await callback.onLog?.(written);
  }

  /** Evaluates and reports. */
  async #evaluate(): Promise<void> {
    const { reporter, training, callbacks, signal } = this.#options;
    const outcome = await reporter.apart(() => this.#method.evaluate(signal));
    assertNoGpuErrors();
    if (outcome === null) return;
    if (training.load_best_model_at_end) metricOf(outcome.metrics, training.metric_for_best_model);
    this.#evaluation = outcome.metrics;
    const record = { step: this.#step, epoch: this.#epoch, ...outcome.metrics };
    this.#history.push(record);
    await reporter.onEvaluate(record, outcome.samples);
    if (this.#schedule.followsMetric) {
      this.#schedule.observe(metricOf(outcome.metrics, training.metric_for_best_model));
    }
    for (const callback of callbacks ?? []) await callback.onEvaluate?.(record);
  }

  /**
   * Writes a checkpoint now, and removes old ones.
   *
   * @param options `anew`: write it even if the step has one already; by default nothing happens then
   */
  async save({ anew = false }: { readonly anew?: boolean } = {}): Promise<string> {
    const { training, reporter, callbacks, saveModel } = this.#options;
    const folder = `${training.output_dir}/checkpoint-${this.#step}`;
    const there = (await listCheckpoints(training.output_dir)).some(({ step }) =>
      step === this.#step
    );
    if (there && !anew) return folder;
    await this.#checkWeights();
    assertNoGpuErrors();
    const lastEvaluation = this.#history.findLast((record) => "eval_runtime" in record);
    if (lastEvaluation?.step === this.#step && this.#evaluation) {
      this.#best.offer(folder, this.#evaluation);
    }
    await reporter.apart(async () => {
      const save = async (folder: string) => {
        await saveModel(folder);
        assertNoGpuErrors(); // What was read after an error may be anything.
      };
      await saveCheckpoint(training.output_dir, save, this.optimizer, this.#state());
      const { output_dir, save_total_limit } = training;
      await rotateCheckpoints(output_dir, save_total_limit, this.#best.folder);
    });
    for (const callback of callbacks ?? []) await callback.onSave?.(folder);
    return folder;
  }

  /** The checkpoint with the best metric so far. */
  get bestCheckpoint(): string | null {
    return this.#best.folder;
  }

  /** What decides this run's numbers. */
  #identity(): RunIdentity {
    const { config, training } = this.#options;
    return runIdentity(this.#method, config ?? { training });
  }

  #state(): CheckpointState {
    const progress = {
      global_step: this.#step,
      epoch: this.#epoch,
      max_steps: this.totalSteps,
      ...this.#best.state(),
      log_history: this.#history,
    };
    const run: RunState = {
      format: CHECKPOINT_FORMAT,
      training_type: this.#method.name,
      identity: this.#identity(),
      method: this.#method.state(),
      schedule: this.#schedule.state(),
      optimizer_steps: {},
      window: this.#window.state(),
      ...(this.#scaler ? { scaler: this.#scaler.state() } : {}),
      skipped_steps: this.#skipped,
      ...(this.#unevaluated ? { unevaluated_step: this.#unevaluated } : {}),
    };
    const { training } = this.#options;
    return { trainer: trainerState(progress, training, this.#method.stepsPerEpoch), run };
  }

  /** A step was aborted: saves the run as it was before the step. */
  async #aborted({ cause }: StepAborted): Promise<TrainResult> {
    const result = await this.#interrupted();
    if (cause === undefined) return result;
    const message = cause instanceof Error ? cause.message : String(cause);
    const { output_dir } = this.#options.training;
    throw new Error(
      this.#step === 0
        ? message
        : `${message}. Everything up to step ${this.#step} is saved: go on with --resume (in ${output_dir})`,
      { cause },
    );
  }

  async #interrupted(): Promise<TrainResult> {
    this.#accumulator.reset();
    if (this.#step > 0) await this.save();
    return this.#result("interrupted");
  }

  #result(status: TrainResult["status"]): TrainResult {
    const skipped = this.#method.skippedRows();
    if (skipped.rows.length > 0) this.#options.reporter.onSkipped(skipped.rows, skipped.total);
    return {
      status,
      step: this.#step,
      trainLoss: this.#window.meanLoss,
      evaluation: this.#evaluation,
    };
  }

  /** Frees the moments and the gradients. */
  dispose(): void {
    this.#accumulator.reset();
    this.optimizer.dispose();
  }
}
