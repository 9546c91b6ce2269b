/**
 * The loop that SFT, DPO and GRPO share: optimizer steps, schedules, logging, evaluation,
 * checkpoints, resuming, stopping. Semantics are those of Transformers' Trainer.
 *
 * @module
 */
import { AgreedStop } from "../../distributed/agreed_stop.ts";
import { currentRanks, onRankZero, type Ranks, sumNumbers } from "../../distributed/ranks.ts";
import { gpuMemoryMetrics } from "../../device/memory.ts";
import type { MetricsRecord } from "../../report/files/metrics_record.ts";
import { BestCheckpoint } from "../checkpoint/best_checkpoint.ts";
import { checkResumable, loadCheckpoint } from "../checkpoint/checkpoint.ts";
import { checkpointToResume } from "../checkpoint/model_alone.ts";
import { checkIdentity, type ResumeOptions } from "../checkpoint/resume_check.ts";
import { loadReference } from "../checkpoint/reference_file.ts";
import { type RunIdentity, runIdentity } from "../checkpoint/run_identity.ts";
import {
  checkHasState,
  CHECKPOINT_FORMAT,
  type CheckpointState,
  checkTrainingType,
  readCheckpointState,
  type RunState,
} from "../checkpoint/run_state.ts";
import { trainerState } from "../checkpoint/transformers_state.ts";
import { CheckpointSaver } from "../checkpoint/checkpoint_saver.ts";
import { BatchFitter } from "./batch_fitter.ts";
import { divergedError } from "./diverged_error.ts";
import type { EvaluationVerdict } from "../evaluation/early_stopping.ts";
import { Evaluations } from "../evaluation/evaluations.ts";
import { findBadValue } from "../optimizer/first_bad_tensor.ts";
import type { Parameters } from "./gradients.ts";
import { MetricsWindow } from "./metrics_window.ts";
import { NonFiniteError, type Optimizer } from "../optimizer/optimizer.ts";
import { requireTrained } from "../optimizer/parameter_groups.ts";
import { broadcastOptimizer, broadcastWeights } from "./same_weights.ts";
import { StepUpdate } from "./step_update.ts";
import { explainFailure } from "./step_failure.ts";
import { dueWork, totalSteps } from "./due_work.ts";
import { type PacedTraining, pacedTraining } from "./intervals.ts";
import type {
  ProgressState,
  SaveOptions,
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
  readonly totalSteps: number;
  readonly #method: TrainingMethod;
  readonly #options: TrainerOptions;
  readonly #training: PacedTraining;
  readonly #update: StepUpdate;
  readonly #fitter: BatchFitter;
  readonly #ranks: Ranks;
  readonly #stop: AgreedStop;
  #step = 0;
  /** Steps done when this process began. */
  #firstStep = 0;
  #epoch = 0;
  readonly #window = new MetricsWindow();
  #history: MetricsRecord[] = [];
  readonly #best: BestCheckpoint;
  readonly #evaluations: Evaluations;
  readonly #saver: CheckpointSaver;
  /** The last step if its evaluation was interrupted; its checkpoint says so. */
  #unevaluated: NonNullable<RunState["unevaluated_step"]> | null = null;

  /**
   * @param method how a step gets its gradients
   * @param options everything else
   * @throws {Error} if nothing trains, or the number of steps is not known
   */
  constructor(method: TrainingMethod, options: TrainerOptions) {
    const { training, groups } = options;
    requireTrained(groups);
    this.#method = method;
    this.#ranks = options.ranks ?? currentRanks();
    this.#stop = new AgreedStop(this.#ranks, options.signal);
    this.#options = { ...options, signal: this.#stop.signal };
    this.#best = new BestCheckpoint(training);
    this.totalSteps = totalSteps(training, method.stepsPerEpoch);
    this.#training = pacedTraining(training, this.totalSteps, method.name);
    this.#update = new StepUpdate({ ...options, ranks: this.#ranks }, this.totalSteps);
    this.#fitter = new BatchFitter({
      training,
      method,
      ranks: this.#ranks,
      warn: (text) => options.reporter.onWarning(text),
    });
    this.#evaluations = new Evaluations({
      method,
      options: this.#options,
      ranks: this.#ranks,
      update: this.#update,
    });
    this.#saver = new CheckpointSaver({
      options: this.#options,
      ranks: this.#ranks,
      optimizer: this.#update.optimizer,
      best: this.#best,
      evaluation: () => this.#ownEvaluation(),
      state: (modelAlone) => this.#state(modelAlone),
      reference: this.#reference,
      checkWeights: () => this.#checkWeights(),
    });
  }

  /** Weights that train, and the optimizer's state. */
  get optimizer(): Optimizer {
    return this.#update.optimizer;
  }

  get #reference(): Parameters {
    return this.#method.reference ?? new Map();
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
    const found = await onRankZero(
      this.#ranks,
      "the checkpoint",
      () => this.#loadCheckpoint(folder, options),
    );
    if (found === null) return null;
    const { trainer, run, exact } = found;
    await broadcastOptimizer(this.#ranks, this.optimizer, run);
    await broadcastWeights(this.#ranks, this.#reference);
    this.#method.restore(run.method, exact);
    this.#update.restore(run);
    this.#step = trainer.global_step;
    this.#firstStep = trainer.global_step;
    this.#epoch = trainer.epoch;
    this.#history = [...trainer.log_history];
    this.#evaluations.restore(this.#history);
    this.#best.restore(trainer);
    this.#unevaluated = run.unevaluated_step ?? null;
    this.#window.restore(run.window);
    return this.#step;
  }

  /** Reads a checkpoint's state, and loads its tensors; null if there is none. */
  async #loadCheckpoint(
    folder: string,
    options: ResumeOptions,
  ): Promise<CheckpointState & { exact: boolean } | null> {
    const { reporter, training } = this.#options;
    const path = folder === "auto"
      ? await checkpointToResume(training.output_dir, (text) => reporter.onWarning(text))
      : folder;
    if (path === null) {
      const place = training.output_dir;
      reporter.onWarning(`${place} has no checkpoint to resume from; training starts anew`);
      return null;
    }
    await checkResumable(path);
    const state = await readCheckpointState(path);
    checkTrainingType(path, state, this.#method.name);
    checkHasState(path, state.run);
    const { identity } = state.run;
    const { warnings, exact } = checkIdentity(path, identity, this.#identity(), options);
    for (const warning of warnings) reporter.onWarning(warning);
    await loadReference(path, this.#reference, exact);
    await loadCheckpoint(path, state, this.optimizer);
    return { ...state, exact };
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
    this.optimizer.showTrained();
    let next = await this.#begin();
    while (next === "go on" && this.#step < this.totalSteps) {
      await this.#stop.agree();
      if (signal?.aborted) return await this.#interrupted();
      const outcome = await this.#fitter.step({
        accumulator: this.#update.accumulator,
        parameters,
        step: this.#step,
        signal,
        more: this.#step + 1 < this.totalSteps,
        lossScale: this.#update.lossScale,
      });
      if (outcome instanceof StepAborted) return await this.#aborted(outcome);
      await this.#finishStep(outcome);
      next = await this.#endStep(outcome.epochEnded);
    }
    if (next === "interrupted") return await this.#interrupted();
    await this.#checkWeights();
    await this.optimizer.showAverages();
    if (training.load_best_model_at_end) await this.#loadBest();
    return this.#result(next === "stop" && this.#step < this.totalSteps ? "stopped" : "done");
  }

  /**
   * What comes before the first step: of a new run the evaluation of the untrained model, if it is
   * asked for; of a resumed one the evaluation that was cut off.
   */
  async #begin(): Promise<StepEnd> {
    const { training, signal } = this.#options;
    if (this.#unevaluated !== null) return await this.#endStep(this.#unevaluated.epoch_ended, true);
    if (this.#evaluations.hadStopped) return "stop";
    if (!training.eval_on_start || this.#step > 0) return "go on";
    return await this.#evaluate().then(() => "go on" as const, (error) => {
      if (!signal?.aborted || error !== signal.reason) throw error;
      return "interrupted" as const;
    });
  }

  /** Loads the weights of the best checkpoint, if one was evaluated. */
  async #loadBest(): Promise<void> {
    const { parameters } = this.optimizer;
    const load = () => this.#best.load(parameters);
    const found = await onRankZero(this.#ranks, "the best checkpoint", load);
    if (found) return await broadcastWeights(this.#ranks, parameters);
    this.#options.reporter.onWarning(
      "load_best_model_at_end: no checkpoint was evaluated; the last weights stay",
    );
  }

  /**
   * What follows an update: logs, evaluates, asks the callbacks, saves; each if it is due.
   *
   * @param resumed the step is a checkpoint's whose evaluation was cut off
   */
  async #endStep(epochEnded: boolean, resumed = false): Promise<StepEnd> {
    const { training, signal, callbacks } = this.#options;
    const [step, totalSteps] = [this.#step, this.totalSteps];
    const due = dueWork(this.#training, { step, totalSteps, epochEnded });
    if (due.log) await this.#log(); // nothing if it was logged before
    let isBest = false, stopsEarly = false;
    if (due.evaluate) {
      try {
        ({ isBest, stops: stopsEarly } = await this.#evaluate());
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
    if (this.#ranks.size > 1 && callbacks?.length) {
      stop = (await sumNumbers(this.#ranks, [stop ? 1 : 0], "the callbacks"))[0] > 0;
    }
    const strategy = training.save_strategy;
    // The step at which a run stops is its last one.
    const saves = strategy === "best" ? isBest : due.save || (stopsEarly && strategy !== "no");
    if (saves || (stop && strategy !== "no") || resumed) await this.save({ anew: resumed });
    return stop || stopsEarly ? "stop" : "go on";
  }

  /** Updates, and counts the step. */
  async #finishStep(outcome: StepOutcome): Promise<void> {
    const { loss, gradNorm, ...counts } = await this.#update.apply(outcome, this.#step)
      .catch(async (error) => {
        throw error instanceof NonFiniteError ? await this.#diverged(error, this.#step + 1) : error;
      });
    await this.#fitter.settleUpdate();
    this.#step++;
    this.#method.afterUpdate?.(this.#step);
    this.#epoch = outcome.epoch;
    this.#window.add(loss, gradNorm, { ...outcome, ...counts });
    await this.#options.reporter.onStep(this.#step, counts.tokens, undefined, loss);
  }

  /** The error of a run that diverged, with the batch kept beside it. */
  async #diverged(error: NonFiniteError, step: number): Promise<NonFiniteError> {
    this.#update.accumulator.reset();
    return await divergedError(error, {
      outputDir: this.#options.training.output_dir,
      step,
      batch: this.#method.describeLastBatch(),
      weights: this.#options.weights ?? this.optimizer.parameters,
      updated: this.#step > this.#firstStep,
      inFloat16: this.#update.inFloat16,
    });
  }

  /** @throws {NonFiniteError} if the last update made a weight that is not finite */
  async #checkWeights(): Promise<void> {
    const bad = await findBadValue(this.optimizer.parameters);
    if (bad === null) return;
    throw await this.#diverged(new NonFiniteError("after its update", bad.name), this.#step);
  }

  async #log(): Promise<void> {
    const { reporter, callbacks } = this.#options;
    if (this.#window.steps === 0) return;
    const { loss, gradNorm, means } = this.#window.take();
    const skipped = this.#method.skippedRows();
    const record: MetricsRecord = {
      step: this.#step,
      epoch: this.#epoch,
      loss,
      grad_norm: gradNorm,
      ...this.#update.rates(this.#step),
      ...means,
      ...this.#update.scaleMetrics,
      ...this.#update.takeRankMetrics(),
      ...(skipped.rows.length > 0 ? { skipped_rows: skipped.rows.length } : {}),
      ...gpuMemoryMetrics(),
    };
    const written = await reporter.onLog({ ...record, ...this.#options.runMetrics?.() });
    this.#history.push(record);
    for (const callback of callbacks ?? []) await callback.onLog?.(written);
  }

  /** Evaluates and reports. */
  async #evaluate(): Promise<EvaluationVerdict> {
    const done = await this.#evaluations.run({ step: this.#step, epoch: this.#epoch });
    if (done === null) return { isBest: false, stops: false };
    this.#history.push(done.record);
    return done;
  }

  /**
   * Writes a checkpoint now, and removes old ones.
   *
   * Of several ranks, all call it and rank 0 writes, once it is certain that all hold the same
   * weights.
   */
  async save(options: SaveOptions = {}): Promise<string> {
    return await this.#saver.save(this.#step, options);
  }

  /** Metrics of this step; null if it was not evaluated. */
  #ownEvaluation(): Readonly<Record<string, number>> | null {
    const record = this.#history.findLast((record) => "eval_runtime" in record);
    return record?.step === this.#step ? this.#evaluations.last : null;
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

  #state(modelAlone: boolean): CheckpointState {
    const progress = {
      global_step: this.#step,
      epoch: this.#epoch,
      max_steps: this.totalSteps,
      ...this.#best.state(),
      stateful_callbacks: this.#evaluations.callbackState(),
      log_history: this.#history,
    };
    const run: RunState = {
      format: CHECKPOINT_FORMAT,
      training_type: this.#method.name,
      identity: this.#identity(),
      method: this.#method.state(),
      ...this.#update.state(),
      optimizer_steps: {},
      window: this.#window.state(),
      ...(this.#unevaluated ? { unevaluated_step: this.#unevaluated } : {}),
      ...(modelAlone ? { model_alone: true as const } : {}),
    };
    return { trainer: trainerState(progress, this.#training, this.#method.stepsPerEpoch), run };
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
    this.#update.accumulator.reset();
    if (this.#step > 0) await this.save({ whole: true });
    return this.#result("interrupted");
  }

  #result(status: TrainResult["status"]): TrainResult {
    const skipped = this.#method.skippedRows();
    if (skipped.rows.length > 0) this.#options.reporter.onSkipped(skipped.rows, skipped.total);
    return {
      status,
      step: this.#step,
      trainLoss: this.#window.meanLoss,
      evaluation: this.#evaluations.last,
      ...(status === "stopped" && this.#evaluations.hadStopped
        ? { reason: this.#evaluations.reason }
        : {}),
    };
  }

  /** Frees the optimizer's state and the gradients. */
  dispose(): void {
    this.#update.dispose();
  }
}
