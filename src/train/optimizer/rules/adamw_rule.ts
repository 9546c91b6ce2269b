/**
 * AdamW with float32 moments.
 *
 * @module
 */
import { adamw, type AdamWUpdate, type Moment } from "../../../ops/optimizer.ts";
import type { AdamWOptions, RuleUpdate, UpdateRule } from "../update_rule.ts";

/** What AdamW's update of a parameter is made with. */
export function adamWUpdate(
  { parameter, gradient, state, ...numbers }: RuleUpdate,
  { beta1, beta2, eps }: AdamWOptions,
): AdamWUpdate {
  const { learningRate, weightDecay, step, gradientScale } = numbers;
  return {
    parameter,
    gradient,
    firstMoment: state.exp_avg as Moment,
    secondMoment: state.exp_avg_sq as Moment,
    numbers: { learningRate, weightDecay, beta1, beta2, eps, step, gradientScale },
  };
}

/** torch.optim.AdamW. */
export function adamWRule(options: AdamWOptions): UpdateRule {
  return {
    name: "adamw_torch",
    stateOf: (_, shape) => ({
      exp_avg: { shape, dtype: "float32" },
      exp_avg_sq: { shape, dtype: "float32" },
    }),
    update: (updates) => adamw(updates.map((update) => adamWUpdate(update, options))),
  };
}
