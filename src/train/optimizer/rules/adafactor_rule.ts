/**
 * Adafactor with the rates of the schedule.
 *
 * @module
 */
import { elementCount } from "../../../element_count.ts";
import { adafactor } from "../../../ops/updates/adafactor.ts";
import type { StateSpec } from "../../../ops/updates/state_array.ts";
import type { UpdateRule } from "../update_rule.ts";

/** Arguments of Transformers' Adafactor. */
export interface AdafactorArguments {
  readonly clip_threshold: number;
  readonly decay_rate: number;
  readonly scale_parameter: boolean;
}

/** Transformers' Adafactor, without relative steps, as its Trainer makes it. */
export function adafactorRule(given: AdafactorArguments): UpdateRule {
  return {
    name: "adafactor",
    stateOf: (_, shape): Record<string, StateSpec> => {
      const mean = (dims: readonly number[]): StateSpec => ({ shape: dims, dtype: "float32" });
      if (shape.length < 2) return { exp_avg_sq: mean(shape) };
      return {
        exp_avg_sq_row: mean(shape.slice(0, -1)),
        exp_avg_sq_col: mean([...shape.slice(0, -2), shape.at(-1)!]),
      };
    },
    // On the host a loop makes no tensors.
    temporaryFloats: (_, shape, backend) => backend === "webgpu" ? 5 * elementCount(shape) : 0,
    update: (updates) =>
      adafactor(updates.map(({ parameter, gradient, state, ...numbers }) => {
        const { learningRate, weightDecay, step, gradientScale } = numbers;
        return {
          parameter,
          gradient,
          state: {
            rows: state.exp_avg_sq_row,
            columns: state.exp_avg_sq_col,
            squares: state.exp_avg_sq,
          },
          numbers: {
            ...{ learningRate, weightDecay, step, gradientScale },
            decayRate: given.decay_rate,
            clipThreshold: given.clip_threshold,
            scaleParameter: given.scale_parameter,
          },
        };
      })),
  };
}
