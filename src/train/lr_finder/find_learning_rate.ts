/**
 * `train sft|dpo|gkd --find-lr`: a learning-rate range test on the model and data of a config.
 *
 * The model is loaded, trained with growing rates in memory, and dropped: no weight of a run and no
 * checkpoint is read or written.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { ResolvedConfig } from "../../config/types/config_types.ts";
import { type BackendChoice, initBackend } from "../../device/backend.ts";
import type { LearningRateSchedule } from "../optimizer/learning_rate_schedule.ts";
import { NonFiniteError, type ParameterGroup } from "../optimizer/optimizer.ts";
import { requireTrained } from "../optimizer/parameter_groups.ts";
import { StepUpdate } from "../loop/step_update.ts";
import type { TrainingMethod } from "../loop/training_method.ts";
import { prepareModel } from "../run/prepare_model.ts";
import type { PreparedModel } from "../run/prepare_model.ts";
import type { RunSetup } from "../run/run_driver.ts";
import {
  type RangePoint,
  RangeTest,
  rateOfStep,
  type RateRange,
  type RateSuggestion,
  suggestRate,
} from "./range_test.ts";

/** From fastai: low enough for any model to stand still, high enough for any to diverge. */
const LOWEST_RATE = 1e-7, HIGHEST_RATE = 1;

/** How a test is made. */
export interface FindRateOptions {
  readonly backend: BackendChoice;
  /** Optimizer steps, 20 or more. */
  readonly steps: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (text: string) => void;
  /** Makes the method out of the loaded model. */
  readonly setUp: (
    prepared: PreparedModel,
  ) => Promise<Pick<RunSetup, "method" | "groups" | "dispose">>;
}

/** The rate of a key at the suggestion. */
export interface SuggestedKey {
  /** `training.lr_mp`, … */
  readonly key: string;
  /** In the config. */
  readonly now: number;
  /** Null: there is no suggestion. */
  readonly suggested: number | null;
}

/** What a test found. Its rates are those of the group with the highest one. */
export interface FoundRate {
  readonly points: readonly RangePoint[];
  readonly range: RateRange;
  readonly diverged: boolean;
  readonly suggestion: RateSuggestion;
  /** All keys, in their present ratios. */
  readonly keys: readonly SuggestedKey[];
}

const KEYS: Readonly<Record<string, string>> = {
  modality_projector: "training.lr_mp",
  vision_encoder: "training.lr_vision_backbone",
  language_backbone: "training.lr_language_backbone",
  lora_adapters: "training.lr_lora",
};

/** The keys of the groups, each once. */
function suggestedKeys(
  groups: readonly ParameterGroup[],
  factor: number | null,
): SuggestedKey[] {
  const keys = new Map<string, number>();
  for (const { name, learningRate } of groups) {
    keys.set(KEYS[name.replace(/_no_decay$/, "")] ?? "training.learning_rate", learningRate);
  }
  return [...keys].map(([key, now]) => ({
    key,
    now,
    suggested: factor === null ? null : Number((now * factor).toPrecision(2)),
  }));
}

/** All groups keep their ratios; the highest rate follows the range. */
function growingSchedule(range: RateRange, highestRate: number): LearningRateSchedule {
  return {
    name: "constant",
    followsMetric: false,
    multiplier: (step) => rateOfStep(step, range) / highestRate,
    observe: () => {},
    state: () => ({}),
    restore: () => {},
  };
}

/**
 * Trains with growing rates until the loss diverges or the highest rate is reached.
 *
 * @param method gives the gradients; its model changes
 * @param groups what trains
 * @throws {DOMException} if the signal is aborted
 */
export async function rangeTest(
  method: TrainingMethod,
  groups: readonly ParameterGroup[],
  { training, steps, signal }: Pick<FindRateOptions, "steps" | "signal"> & {
    readonly training: ResolvedConfig["training"];
  },
): Promise<FoundRate> {
  requireTrained(groups);
  const range = { lowest: LOWEST_RATE, highest: HIGHEST_RATE, steps };
  const highest = Math.max(...groups.map(({ learningRate }) => learningRate));
  const update = new StepUpdate(
    { training, groups, schedule: growingSchedule(range, highest) },
    steps,
  );
  const test = new RangeTest(range);
  const { parameters } = update.optimizer;
  try {
    for (let step = 0, goesOn = true; goesOn; step++) {
      signal?.throwIfAborted();
      const { accumulator, lossScale } = update;
      const outcome = await method.step({
        ...{ accumulator, parameters, step, signal, lossScale },
        more: step + 1 < steps,
      });
      const loss = await update.apply(outcome, step).then(({ loss }) => loss, (error) => {
        if (!(error instanceof NonFiniteError)) throw error;
        tf.dispose(outcome.losses.filter((loss) => !loss.isDisposed));
        return NaN;
      });
      goesOn = test.add(loss);
    }
  } finally {
    update.dispose();
  }
  const suggestion = suggestRate(test.points);
  const factor = suggestion.rate === null ? null : suggestion.rate / highest;
  return {
    points: test.points,
    range,
    diverged: test.diverged,
    suggestion,
    keys: suggestedKeys(groups, factor),
  };
}

/**
 * Loads model and data of a config, and makes a range test.
 *
 * @param config resolved; its schedule, warm-up and number of steps are not read
 * @throws {Error} if model or data cannot be had
 */
export async function findLearningRate(
  config: ResolvedConfig,
  { backend: choice, steps, signal, setUp, onProgress: say = () => {} }: FindRateOptions,
): Promise<FoundRate> {
  const { training } = config;
  const backend = await initBackend({ backend: choice });
  say(`backend ${backend.reason}`);
  const prepared = await prepareModel(config.model, training.seed, training, signal);
  say(`model ${prepared.origin}; nothing of it is saved`);
  let setup: Awaited<ReturnType<FindRateOptions["setUp"]>> | null = null;
  try {
    setup = await setUp(prepared);
    say(`${steps} steps at rates from ${LOWEST_RATE} to ${HIGHEST_RATE}`);
    return await rangeTest(setup.method, setup.groups, { training, steps, signal });
  } finally {
    await setup?.method.release();
    await setup?.dispose?.();
    prepared.model.dispose();
  }
}
