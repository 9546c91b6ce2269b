/**
 * From the gradients of a step to new weights: clipping, learning rates, the optimizer, and in fp16
 * the loss scale.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { TrainingSection } from "../../config/types/config_types.ts";
import { ALONE, type Ranks } from "../../distributed/ranks.ts";
import { assertNoGpuErrors } from "../../device/gpu_errors.ts";
import type { RunState } from "../checkpoint/run_state.ts";
import { NonFiniteError, Optimizer, type ParameterGroup } from "../optimizer/optimizer.ts";
import { optimizerOptions } from "../optimizer/parameter_groups.ts";
import {
  createSchedule,
  type LearningRateSchedule,
  warmupStepCount,
} from "../optimizer/schedules.ts";
import { GradientAccumulator } from "./gradients.ts";
import { LossScaler } from "./loss_scaler.ts";
import { RankTimes } from "./ranks/rank_times.ts";
import { OverlappedSums } from "./ranks/overlapped_sums.ts";
import { type GradientExchange, reduceGradients, sumOverRanks } from "./ranks/reduce_gradients.ts";
import type { StepOutcome } from "./training_method.ts";

/** What updates are made with. */
export interface StepUpdateOptions {
  readonly training: TrainingSection;
  /** What trains, and how fast. */
  readonly groups: readonly ParameterGroup[];
  /** Only in fp16; default: one with GradScaler's numbers. */
  readonly lossScaler?: LossScaler;
  /** The processes that sum their gradients; default: this one alone. */
  readonly ranks?: Ranks;
  /** Default: the config's. */
  readonly schedule?: LearningRateSchedule;
}

/** What an update found, on all ranks together. */
export interface MeasuredStep {
  readonly tokens: number;
  readonly padding: number;
  readonly loss: number;
  /** Before clipping; infinite if the gradients overflowed. */
  readonly gradNorm: number;
}

/** The part of a checkpoint that says how updates continue. */
type UpdateState = Pick<RunState, "schedule" | "scaler" | "skipped_steps">;

/** Updates what trains. */
export class StepUpdate {
  readonly optimizer: Optimizer;
  /** Takes the gradients of a step. */
  readonly accumulator: GradientAccumulator = new GradientAccumulator();
  readonly #groups: readonly ParameterGroup[];
  readonly #schedule: LearningRateSchedule;
  /** Only in fp16. */
  readonly #scaler: LossScaler | null;
  /** Steps whose gradients overflowed: no update, and the schedule stays. */
  #skipped = 0;
  readonly #ranks: Ranks;
  readonly #exchange: GradientExchange;
  readonly #rankTimes = new RankTimes();
  /** When the last step ended, and how long the calls to other ranks had taken until then. */
  #last = { at: performance.now(), inCalls: 0 };

  constructor(
    { training, groups, lossScaler, ranks = ALONE, schedule }: StepUpdateOptions,
    totalSteps: number,
  ) {
    this.#groups = groups;
    this.#ranks = ranks;
    this.#scaler = training.fp16 ? lossScaler ?? new LossScaler() : null;
    const compression = training.gradient_compression;
    this.#exchange = { ranks, compression };
    if (training.gradient_overlap && ranks.size > 1 && tf.getBackend() === "wasm") {
      const parameters = new Map(groups.flatMap((group) => [...group.parameters]));
      const exchange = this.#exchange;
      const overlapped = new OverlappedSums(parameters, {
        sum: (values, what) => sumOverRanks(exchange, values, what),
        secondsInCalls: () => ranks.secondsInCalls,
      });
      this.#exchange = { ...exchange, overlapped };
      this.accumulator.receiver = overlapped;
    }
    const name = training.lr_scheduler_type;
    const warmupSteps = warmupStepCount(totalSteps, {
      warmupRatio: training.warmup_ratio,
      warmupSteps: training.warmup_steps,
    });
    this.optimizer = new Optimizer(groups, {
      ...optimizerOptions(training),
      // Every other schedule has the warm-up itself.
      warmupSteps: name === "constant" && schedule === undefined ? warmupSteps : 0,
    });
    this.#schedule = schedule ?? createSchedule({
      name,
      warmupSteps,
      totalSteps,
      baseLearningRate: groups[0].learningRate,
      groupLearningRates: groups.map(({ learningRate }) => learningRate),
      arguments: training.lr_scheduler_kwargs,
    });
  }

  /** Multiplied into the gradients of the next step (fp16). */
  get lossScale(): number | undefined {
    return this.#scaler?.scale;
  }

  /** Whether products are rounded to float16. */
  get inFloat16(): boolean {
    return this.#scaler !== null;
  }

  /**
   * Sums the accumulated gradients over ranks, clips them and updates, or skips the update if they
   * overflowed in fp16.
   *
   * @param outcome of this rank; its losses are freed
   * @param step optimizer steps done before this one
   * @throws {NonFiniteError} if loss or gradients are not finite; nothing is updated then
   */
  async apply(
    outcome: Pick<StepOutcome, "losses" | "tokens" | "padding">,
    step: number,
  ): Promise<MeasuredStep> {
    const { losses, tokens, padding } = await this.#share(outcome);
    const lossScale = this.#scaler?.scale ?? 1;
    const { gradients } = this.accumulator;
    let measured: { gradNorm: number; losses: readonly number[] };
    let overflowed = false;
    try {
      measured = await this.optimizer.measure(gradients, losses, lossScale);
    } catch (error) {
      if (!(error instanceof NonFiniteError) || !this.#isOverflow(error)) throw error;
      overflowed = true;
      measured = { gradNorm: Infinity, losses: error.losses! };
    } finally {
      tf.dispose([...losses]);
    }
    // A device that reported an error may have computed anything: no update from it.
    assertNoGpuErrors();
    if (overflowed) this.#skipped++;
    else {
      const multipliers = this.#groups.map((_, group) =>
        this.#schedule.multiplier(step - this.#skipped, group)
      );
      this.optimizer.step(gradients, measured.gradNorm, multipliers, lossScale);
    }
    this.#scaler?.update(overflowed);
    this.accumulator.reset();
    const loss = measured.losses.reduce((sum, value) => sum + value, 0);
    this.#last = { at: performance.now(), inCalls: this.#ranks.secondsInCalls };
    return { loss, gradNorm: measured.gradNorm, tokens, padding };
  }

  /** What all ranks did together. */
  async #share(
    outcome: Pick<StepOutcome, "losses" | "tokens" | "padding">,
  ): Promise<Pick<StepOutcome, "losses" | "tokens" | "padding">> {
    const ranks = this.#ranks;
    if (ranks.size === 1) return outcome;
    const { at, inCalls } = this.#last;
    // Calls that ran beside the backward pass did not hold it up.
    const beside = this.#exchange.overlapped?.secondsBeside() ?? 0;
    const waited = ranks.secondsInCalls - inCalls - beside;
    const ownSeconds = (performance.now() - at) / 1000 - waited;
    const { accumulator, optimizer: { parameters } } = this;
    try {
      const reduced = await reduceGradients(this.#exchange, accumulator, parameters, {
        ...outcome,
        ownSeconds,
      });
      this.#rankTimes.add(reduced, (performance.now() - at) / 1000);
      return { ...reduced, losses: [tf.scalar(reduced.loss)] };
    } finally {
      tf.dispose([...outcome.losses]);
    }
  }

  /** Where the time of several ranks went since the last log; nothing of a single process. */
  takeRankMetrics(): Record<string, number> {
    return this.#rankTimes.take();
  }

  /**
   * Whether a smaller loss scale may help: the loss is finite, its scaled gradients are not. At a
   * scale of 1 they are too large for float16 themselves.
   */
  #isOverflow({ losses }: NonFiniteError): boolean {
    return this.#scaler !== null && this.#scaler.scale > 1 && losses !== null;
  }

  /**
   * Learning rates of the last update.
   *
   * @param step optimizer steps done
   */
  rates(step: number): { learning_rate: number; [name: string]: number } {
    const lastUpdate = Math.max(0, step - 1 - this.#skipped);
    const rates = this.#groups.map(({ name, learningRate }, group): [string, number] => [
      `learning_rate/${name}`,
      learningRate * this.#schedule.multiplier(lastUpdate, group) *
      this.optimizer.rateFactor(name),
    ]);
    return {
      learning_rate: rates[0][1],
      ...Object.fromEntries(rates.length > 1 ? rates : []),
    };
  }

  /** The loss scale and the skipped steps; nothing if the run is not in fp16. */
  get scaleMetrics(): Record<string, number> {
    return this.#scaler === null
      ? {}
      : { loss_scale: this.#scaler.scale, skipped_steps: this.#skipped };
  }

  /** Whether the schedule follows a metric of the evaluations. */
  get followsMetric(): boolean {
    return this.#schedule.followsMetric;
  }

  /** Gives the schedule the metric of an evaluation. */
  observe(metric: number): void {
    this.#schedule.observe(metric);
  }

  /** For a checkpoint. */
  state(): UpdateState {
    return {
      schedule: this.#schedule.state(),
      ...(this.#scaler ? { scaler: this.#scaler.state() } : {}),
      skipped_steps: this.#skipped,
    };
  }

  /** From a checkpoint. */
  restore({ schedule, scaler, skipped_steps }: UpdateState): void {
    this.#schedule.restore(schedule);
    if (scaler) this.#scaler?.restore(scaler);
    this.#skipped = skipped_steps ?? 0;
  }

  /** Frees the optimizer's state and the gradients. */
  dispose(): void {
    this.accumulator.reset();
    this.optimizer.dispose();
  }
}
