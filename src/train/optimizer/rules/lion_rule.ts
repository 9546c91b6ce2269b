/**
 * Lion with a float32 momentum.
 *
 * @module
 */
import { lion } from "../../../ops/updates/lion.ts";
import type { AdamWOptions, UpdateRule } from "../update_rule.ts";

/** bitsandbytes' Lion in 32 bits; its betas are those of the config, as Transformers passes them. */
export function lionRule({ beta1, beta2 }: AdamWOptions): UpdateRule {
  return {
    name: "lion_32bit",
    stateOf: (_, shape) => ({ exp_avg: { shape, dtype: "float32" } }),
    update: (updates) =>
      lion(updates.map(({ parameter, gradient, state, ...numbers }) => {
        const { learningRate, weightDecay, gradientScale } = numbers;
        return {
          parameter,
          gradient,
          momentum: state.exp_avg,
          numbers: { learningRate, weightDecay, beta1, beta2, gradientScale },
        };
      })),
  };
}
