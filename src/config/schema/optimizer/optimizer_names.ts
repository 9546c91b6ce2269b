/**
 * The optimizers by Transformers' names, and the arguments that each takes in `optim_args`.
 *
 * @module
 */

/** Every optimizer. `muon` is ours: Transformers has no such name yet. */
export const OPTIMIZER_NAMES = [
  "adamw_torch",
  "adamw_bnb_8bit",
  "lion_32bit",
  "lion_8bit",
  "adafactor",
  "schedule_free_adamw",
  "muon",
] as const;

/** The name of an optimizer, as `training.optim` holds it. */
export type OptimizerName = typeof OPTIMIZER_NAMES[number];

/** An argument of an optimizer. */
export interface OptimizerArgument {
  readonly default: number | boolean | string;
  /** What it must be, in words. */
  readonly wanted: string;
  readonly accepts: (value: unknown) => boolean;
}

const isNumber = (value: unknown): value is number => typeof value === "number";

const momentum: OptimizerArgument = {
  default: 0.95,
  wanted: "a number from 0 to below 1",
  accepts: (value) => isNumber(value) && value >= 0 && value < 1,
};

const flag = (value: boolean): OptimizerArgument => ({
  default: value,
  wanted: "true or false",
  accepts: (given) => typeof given === "boolean",
});

const minSize: OptimizerArgument = {
  default: 4096,
  wanted: "an integer of 0 or more",
  accepts: (value) => Number.isSafeInteger(value) && value as number >= 0,
};

/** By optimizer: the names of its package, which for `muon` is torch. */
export const OPTIMIZER_ARGUMENTS: Readonly<
  Record<OptimizerName, Readonly<Record<string, OptimizerArgument>>>
> = {
  adamw_torch: {},
  adamw_bnb_8bit: { min_8bit_size: minSize },
  lion_32bit: {},
  lion_8bit: { min_8bit_size: minSize },
  adafactor: {
    clip_threshold: {
      default: 1,
      wanted: "a number above 0",
      accepts: (value) => isNumber(value) && value > 0,
    },
    decay_rate: {
      default: -0.8,
      wanted: "a number below 0",
      accepts: (value) => isNumber(value) && value < 0,
    },
    scale_parameter: flag(false),
  },
  schedule_free_adamw: {
    r: {
      default: 0,
      wanted: "a number of 0 or more",
      accepts: (value) => isNumber(value) && value >= 0,
    },
    weight_lr_power: {
      default: 2,
      wanted: "a number of 0 or more",
      accepts: (value) => isNumber(value) && value >= 0,
    },
  },
  muon: {
    momentum,
    nesterov: flag(true),
    ns_steps: {
      default: 5,
      wanted: "an integer from 1 to 99",
      accepts: (value) =>
        Number.isSafeInteger(value) && value as number > 0 && value as number < 100,
    },
    adjust_lr_fn: {
      default: "match_rms_adamw",
      wanted: "match_rms_adamw or original",
      accepts: (value) => value === "match_rms_adamw" || value === "original",
    },
  },
};

/**
 * Transformers' other names of the same updates: fused or paged variants, whose memory is managed
 * elsewhere, have the same numbers.
 */
export const OPTIMIZER_SYNONYMS: ReadonlyMap<string, OptimizerName> = new Map([
  ["adamw", "adamw_torch"],
  ["adamw_hf", "adamw_torch"],
  ["adamw_torch_fused", "adamw_torch"],
  ["paged_adamw_32bit", "adamw_torch"],
  ["paged_adamw", "adamw_torch"],
  ["adamw_8bit", "adamw_bnb_8bit"],
  ["paged_adamw_8bit", "adamw_bnb_8bit"],
  ["lion", "lion_32bit"],
  ["paged_lion_32bit", "lion_32bit"],
  ["paged_lion_8bit", "lion_8bit"],
]);

/** A value of `optim_args`. */
export type OptimizerValue = number | boolean | string;

/** The arguments of an optimizer, missing ones at their defaults. */
export function filledArguments(
  name: OptimizerName,
  given: Readonly<Record<string, OptimizerValue>>,
): Record<string, OptimizerValue> {
  const defaults = Object.entries(OPTIMIZER_ARGUMENTS[name]).map((
    [key, argument],
  ) => [key, argument.default]);
  return { ...Object.fromEntries(defaults), ...given };
}
