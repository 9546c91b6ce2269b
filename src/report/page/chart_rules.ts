/**
 * Which metrics share a chart, and what its axis counts.
 *
 * @module
 */

/** A chart and the metrics that belong in it. */
export interface ChartRule {
  readonly title: string;
  /** Title of the vertical axis, with the unit. */
  readonly unit: string;
  /** It stands among the first charts; the others are folded away. */
  readonly primary?: true;
  readonly keys: RegExp;
}

const SHARE = "share, 0 to 1";

/**
 * The first rule that takes a metric decides; the order is the order on the page. Names are those of
 * Transformers' Trainer and TRL.
 */
export const CHART_RULES: readonly ChartRule[] = [
  { title: "Reward", unit: "reward", primary: true, keys: /^(eval_)?reward$/ },
  { title: "Loss", unit: "loss (SFT: nats a token)", primary: true, keys: /^(eval_)?loss$/ },
  {
    title: "Held-out accuracy",
    unit: SHARE,
    primary: true,
    keys:
      /^eval_(rewards\/accuracies$|(?!rewards\/).*(accuracy|exact_match|accuracies|anls|choice|contains|yes_no|box_iou|token_f1))/,
  },
  { title: "Accuracy", unit: SHARE, primary: true, keys: /accurac(y|ies)$|^exact_match/ },
  { title: "Spread of rewards", unit: "standard deviation", keys: /^(eval_)?reward_std$/ },
  {
    title: "Rewards of the preference loss",
    unit: "reward: beta times nats",
    primary: true,
    keys: /^(eval_)?rewards\/(chosen|rejected|margins)$/,
  },
  {
    title: "Reward functions: mean",
    unit: "reward",
    primary: true,
    keys: /^(eval_)?rewards\/.*\/mean$/,
  },
  {
    title: "Reward functions: spread",
    unit: "standard deviation",
    keys: /^(eval_)?rewards\/.*\/std$/,
  },
  {
    title: "Reward functions: failures",
    unit: "calls a step",
    keys: /^(eval_)?rewards\/.*\/(failures|failed|timeouts|nulls?)$/,
  },
  {
    title: "Reward functions: time",
    unit: "ms a call",
    keys: /^(eval_)?rewards\/.*(time|\/ms|_ms|seconds)/,
  },
  { title: "Log-probabilities", unit: "nats an answer", keys: /^(eval_)?logps\// },
  { title: "Logits", unit: "logit", keys: /^(eval_)?logits\// },
  {
    title: "KL divergence from the reference",
    unit: "nats a token",
    primary: true,
    keys: /^(eval_)?kl$/,
  },
  { title: "Entropy", unit: "nats a token", keys: /entropy/ },
  {
    title: "Learning rate",
    unit: "rate",
    primary: true,
    keys: /^(learning_rate|lr)([/_].*)?$/,
  },
  { title: "Gradient norm", unit: "L2 norm before clipping", primary: true, keys: /^grad_norm/ },
  { title: "Clipped importance ratios", unit: SHARE, keys: /clip_ratio|clip_fraction/ },
  {
    title: "Completion length",
    unit: "tokens",
    primary: true,
    keys: /^(eval_)?completions\/.*length/,
  },
  {
    title: "Completions cut off, groups without spread",
    unit: SHARE,
    keys: /clipped_ratio|truncated|frac_reward_zero_std/,
  },
  { title: "Speed", unit: "tokens a second", keys: /tokens_per_second/ },
  { title: "Padding", unit: "share of the tokens", keys: /^padding_share$/ },
  { title: "Where the time goes", unit: "seconds a step", keys: /^(time|profiling)\// },
  { title: "Memory", unit: "MiB", keys: /memory/ },
  { title: "Held-out examples a second", unit: "examples a second", keys: /^eval_.*_per_second$/ },
];
