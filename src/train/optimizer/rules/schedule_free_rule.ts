/**
 * Schedule-free AdamW: the weights that train are y, those to evaluate and to save their average x.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { scheduleFree, setAverage } from "../../../ops/updates/schedule_free.ts";
import type {
  AdamWOptions,
  NamedState,
  OptimizerOptions,
  RuleUpdate,
  UpdateRule,
} from "../update_rule.ts";

/** Arguments of schedulefree's AdamWScheduleFree. */
export interface ScheduleFreeArguments {
  /** Later steps count more in the average: step^r. */
  readonly r: number;
  /** Steps count by the largest rate so far, to this power. */
  readonly weight_lr_power: number;
}

/** What a group remembers. */
interface GroupState {
  /** Steps done. */
  steps: number;
  /** Sum of the weights of all steps. */
  weightSum: number;
  /** The largest rate so far. */
  maxRate: number;
}

/** This step's numbers of a group. */
interface GroupStep {
  readonly learningRate: number;
  readonly share: number;
  readonly step: number;
}

/** schedulefree's AdamWScheduleFree. */
export class ScheduleFreeRule implements UpdateRule {
  readonly name = "schedule_free_adamw";
  readonly #groups = new Map<string, GroupState>();
  #now = new Map<string, GroupStep>();

  constructor(
    readonly options: AdamWOptions & Pick<OptimizerOptions, "warmupSteps">,
    readonly given: ScheduleFreeArguments,
  ) {}

  stateOf(_: string, shape: readonly number[]): ReturnType<UpdateRule["stateOf"]> {
    return { z: { shape, dtype: "float32" }, exp_avg_sq: { shape, dtype: "float32" } };
  }

  #warmup(step: number): number {
    const { warmupSteps = 0 } = this.options;
    return step < warmupSteps ? step / warmupSteps : 1;
  }

  beginStep(rates: ReadonlyMap<string, number>): void {
    this.#now = new Map(Array.from(rates, ([name, rate]) => {
      const group = this.#groups.get(name) ?? { steps: 0, weightSum: 0, maxRate: -1 };
      this.#groups.set(name, group);
      const step = ++group.steps;
      const learningRate = rate * this.#warmup(step);
      group.maxRate = Math.max(learningRate, group.maxRate);
      const weight = step ** this.given.r * group.maxRate ** this.given.weight_lr_power;
      group.weightSum += weight;
      const share = group.weightSum === 0 ? 0 : weight / group.weightSum;
      return [name, { learningRate, share, step }];
    }));
  }

  update(updates: readonly RuleUpdate[]): void {
    const { beta1, beta2, eps } = this.options;
    scheduleFree(updates.map(({ parameter, gradient, state, group, ...numbers }) => {
      const { weightDecay, gradientScale } = numbers;
      return {
        parameter,
        gradient,
        z: state.z,
        secondMoment: state.exp_avg_sq,
        first: numbers.step === 1,
        numbers: { ...this.#now.get(group)!, weightDecay, beta1, beta2, eps, gradientScale },
      };
    }));
  }

  readonly setAverage = (parameter: tf.Variable, state: NamedState): void =>
    setAverage(parameter, state.z, this.options.beta1);

  rateFactor(group: string): number {
    return this.#warmup(this.#groups.get(group)?.steps ?? 0);
  }

  numbers(): Record<string, number> {
    return Object.fromEntries([...this.#groups].flatMap(([name, state]) => [
      [`${name}.k`, state.steps],
      [`${name}.weight_sum`, state.weightSum],
      [`${name}.lr_max`, state.maxRate],
    ]));
  }

  restoreNumbers(numbers: Readonly<Record<string, number>>): void {
    this.#groups.clear();
    for (const key of Object.keys(numbers)) {
      const name = /^(.*)\.k$/.exec(key)?.[1];
      if (name === undefined) continue;
      this.#groups.set(name, {
        steps: numbers[key],
        weightSum: numbers[`${name}.weight_sum`],
        maxRate: numbers[`${name}.lr_max`],
      });
    }
  }
}
