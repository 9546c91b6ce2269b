/**
 * Plain names of metrics. The names in metrics.jsonl are those of Transformers' Trainer and TRL.
 *
 * @module
 */

const NAMES: Readonly<Record<string, string>> = {
  loss: "training loss",
  reward: "mean reward",
  reward_std: "spread of the rewards",
  "rewards/chosen": "reward of the chosen answers",
  "rewards/rejected": "reward of the rejected answers",
  "rewards/margins": "margin: chosen minus rejected",
  "rewards/accuracies": "pairs whose chosen answer gains more",
  preference_accuracy: "pairs whose chosen answer is likelier",
  "logps/chosen": "log-probability of the chosen answers",
  "logps/rejected": "log-probability of the rejected answers",
  "logits/chosen": "mean logit of the chosen answers",
  "logits/rejected": "mean logit of the rejected answers",
  kl: "divergence from the reference",
  entropy: "entropy",
  learning_rate: "learning rate",
  "learning_rate/modality_projector": "rate of the projector",
  "learning_rate/vision_encoder": "rate of the vision encoder",
  "learning_rate/language_backbone": "rate of the decoder",
  "learning_rate/lora": "rate of the adapters",
  grad_norm: "gradient norm",
  "completions/mean_length": "mean length",
  "completions/min_length": "shortest",
  "completions/max_length": "longest",
  "completions/mean_terminated_length": "mean length of complete ones",
  "completions/min_terminated_length": "shortest complete one",
  "completions/max_terminated_length": "longest complete one",
  "completions/clipped_ratio": "completions that are cut off",
  frac_reward_zero_std: "groups without a spread",
  tokens_per_second: "speed",
  samples_per_second: "examples a second",
  padding_share: "padding",
  peak_memory_bytes: "peak memory of the process",
  peak_gpu_memory_bytes: "peak memory of the GPU",
  "time/prefill": "reading the prompts",
  "time/decode": "writing the completions",
  "time/rewards": "scoring",
  exact_match: "exact match",
  accuracy: "accuracy",
  skipped_rows: "rows that were skipped",
  sample_weight: "mean weight of the examples",
  micro_batches: "micro-batches of a step",
};

const PARTS: readonly (readonly [pattern: RegExp, name: (part: string) => string])[] = [
  [/^rewards\/(.+)\/mean$/, (part) => `mean of ${part}`],
  [/^rewards\/(.+)\/std$/, (part) => `spread of ${part}`],
  [/^rewards\/(.+)\/failed$/, (part) => `failed calls of ${part}`],
  [/^rewards\/(.+)\/timeouts$/, (part) => `late calls of ${part}`],
  [/^rewards\/(.+)\/ms$/, (part) => `time of ${part}`],
  [/^clip_ratio\/(.+)$/, (part) => `clipped ratios, ${part.replaceAll("_", " ")}`],
];

/**
 * What a metric is in plain words.
 *
 * @param key its name in metrics.jsonl
 * @returns null if it has no other name than its key
 */
export function plainName(key: string): string | null {
  if (key.startsWith("eval_")) {
    const rest = plainName(key.slice("eval_".length));
    return rest === null ? null : `held-out ${rest.replace(/^training /, "")}`;
  }
  if (Object.hasOwn(NAMES, key)) return NAMES[key];
  for (const [pattern, name] of PARTS) {
    const part = pattern.exec(key)?.[1];
    if (part !== undefined) return name(part);
  }
  return null;
}
