/**
 * AdamW and Lion with their state in 8 bits. As in bitsandbytes under Transformers' Trainer, small
 * parameters and embeddings keep 32 bits. So does the head: with tied weights it is the embedding.
 *
 * @module
 */
import { elementCount } from "../../../element_count.ts";
import { BLOCK_SIZE } from "../../../ops/updates/dynamic_map.ts";
import { adamW8Bit, lion8Bit } from "../../../ops/updates/eight_bits.ts";
import type { StateSpec } from "../../../ops/updates/state_array.ts";
import type { AdamWOptions, NamedState, RuleUpdate, UpdateRule } from "../update_rule.ts";
import { adamWRule } from "./adamw_rule.ts";
import { lionRule } from "./lion_rule.ts";

/** Arguments of bitsandbytes' optimizers. */
export interface EightBitArguments {
  /** Parameters with fewer values keep their state in 32 bits. */
  readonly min_8bit_size: number;
}

const EMBEDDING = /(?:token_embedding|position_embedding|decoder\.head)(?:\.weight)?$/;

/** The two arrays of a state in 8 bits. */
function packedSpecs(name: string, shape: readonly number[]): Record<string, StateSpec> {
  const blocks = Math.ceil(elementCount(shape) / BLOCK_SIZE);
  return {
    [name]: { shape, dtype: "uint8" },
    [`${name}_absmax`]: { shape: [blocks], dtype: "float32" },
  };
}

const packed = (state: NamedState, name: string) => ({
  codes: state[name],
  scales: state[`${name}_absmax`],
});

/** A rule of 8 bits beside the rule of 32 bits for what is small. */
function eightBitRule(
  name: UpdateRule["name"],
  wide: UpdateRule,
  { min_8bit_size: least }: EightBitArguments,
  update: (updates: readonly RuleUpdate[]) => void,
): UpdateRule {
  const isPacked = ({ state }: RuleUpdate) => "exp_avg_absmax" in state;
  return {
    name,
    stateOf: (parameter, shape) => {
      const states = wide.stateOf(parameter, shape);
      if (elementCount(shape) < least || EMBEDDING.test(parameter)) return states;
      return Object.assign({}, ...Object.keys(states).map((name) => packedSpecs(name, shape)));
    },
    update: (updates) => {
      update(updates.filter(isPacked));
      wide.update(updates.filter((one) => !isPacked(one)));
    },
  };
}

/** bitsandbytes' AdamW8bit. */
export function adamW8BitRule(options: AdamWOptions, given: EightBitArguments): UpdateRule {
  const { beta1, beta2, eps } = options;
  return eightBitRule(
    "adamw_bnb_8bit",
    adamWRule(options),
    given,
    (updates) =>
      adamW8Bit(updates.map(({ parameter, gradient, state, ...numbers }) => {
        const { learningRate, weightDecay, step, gradientScale } = numbers;
        return {
          parameter,
          gradient,
          first: packed(state, "exp_avg"),
          second: packed(state, "exp_avg_sq"),
          numbers: { learningRate, weightDecay, beta1, beta2, eps, step, gradientScale },
        };
      })),
  );
}

/** bitsandbytes' Lion8bit. */
export function lion8BitRule(options: AdamWOptions, given: EightBitArguments): UpdateRule {
  const { beta1, beta2 } = options;
  return eightBitRule(
    "lion_8bit",
    lionRule(options),
    given,
    (updates) =>
      lion8Bit(updates.map(({ parameter, gradient, state, ...numbers }) => {
        const { learningRate, weightDecay, gradientScale } = numbers;
        return {
          parameter,
          gradient,
          first: packed(state, "exp_avg"),
          numbers: { learningRate, weightDecay, beta1, beta2, gradientScale },
        };
      })),
  );
}
