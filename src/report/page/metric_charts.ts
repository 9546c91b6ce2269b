import { type MetricsRecord, numericMetrics } from "../files/metrics_record.ts";

/** One line of a chart. */
export interface ChartSeries {
  /** The metric's name in metrics.jsonl. */
  readonly key: string;
  /** Optimizer steps, rising. */
  readonly steps: readonly number[];
  /** The value at each step. */
  readonly values: readonly number[];
}

/** Metrics that belong in one picture. */
export interface MetricChart {
  /** What it shows. */
  readonly title: string;
  /** Whether it stands among the first, or is folded away under "More curves". */
  readonly primary: boolean;
  /** At least one. */
  readonly series: readonly ChartSeries[];
}

interface ChartRule {
  readonly title: string;
  readonly primary?: true;
  readonly keys: RegExp;
}

// The first rule that takes a metric decides; the order is the order on the page. Names are those
// of Transformers' Trainer and TRL.
const RULES: readonly ChartRule[] = [
  { title: "Loss", primary: true, keys: /^(eval_)?loss$/ },
  {
    title: "Held-out accuracy",
    primary: true,
    keys: /^eval_.*(accuracy|exact_match|accuracies|anls|choice|contains|yes_no|box_iou|token_f1)/,
  },
  { title: "Accuracy", primary: true, keys: /accurac(y|ies)$|^exact_match/ },
  { title: "Reward", primary: true, keys: /^(eval_)?reward$/ },
  { title: "Spread of rewards", keys: /^(eval_)?reward_std$/ },
  {
    title: "Rewards of the preference loss",
    primary: true,
    keys: /^(eval_)?rewards\/(chosen|rejected|margins)$/,
  },
  { title: "Reward functions: mean", primary: true, keys: /^(eval_)?rewards\/.*\/mean$/ },
  { title: "Reward functions: spread", keys: /^(eval_)?rewards\/.*\/std$/ },
  { title: "Reward functions: failures", keys: /^(eval_)?rewards\/.*\/(failures|failed|nulls?)$/ },
  { title: "Reward functions: time", keys: /^(eval_)?rewards\/.*(time|_ms|seconds)/ },
  { title: "Log-probabilities", keys: /^(eval_)?logps\// },
  { title: "Logits", keys: /^(eval_)?logits\// },
  { title: "KL divergence from the reference", primary: true, keys: /^(eval_)?kl$/ },
  { title: "Entropy", keys: /entropy/ },
  { title: "Learning rate", primary: true, keys: /^(learning_rate|lr)([/_].*)?$/ },
  { title: "Gradient norm", primary: true, keys: /^grad_norm/ },
  { title: "Clipped importance ratios", keys: /clip_ratio|clip_fraction/ },
  { title: "Completion length, in tokens", primary: true, keys: /^(eval_)?completions\/.*length/ },
  {
    title: "Completions cut off, groups without spread",
    keys: /clipped_ratio|truncated|frac_reward_zero_std/,
  },
  { title: "Tokens per second", keys: /tokens_per_second/ },
  { title: "Share of padding among the tokens", keys: /^padding_share$/ },
  { title: "Where the time goes", keys: /^(time|profiling)\// },
  { title: "Memory", keys: /memory/ },
];

// Counters that repeat the axis.
const NOT_DRAWN = /^(epoch|num_tokens|num_input_tokens_seen|total_flos|.*_runtime|train_loss)$/;

/**
 * Sorts metrics into charts: those to compare share a chart, those with another unit do not.
 *
 * @param records the run's records, in the order of their steps
 * @param maxPoints how many points a line keeps; the highest and lowest of each stretch stay
 * @returns the charts in the order in which they are to be shown
 */
export function metricCharts(records: readonly MetricsRecord[], maxPoints = 1500): MetricChart[] {
  const lines = new Map<string, { steps: number[]; values: number[] }>();
  for (const record of records) {
    for (const [key, value] of numericMetrics(record)) {
      if (NOT_DRAWN.test(key)) continue;
      const line = lines.get(key) ?? { steps: [], values: [] };
      lines.set(key, line);
      const last = line.steps.length - 1;
      if (last >= 0 && line.steps[last] >= record.step) {
        // Measured twice at one step: the later one counts.
        if (line.steps[last] === record.step) line.values[last] = value;
        continue;
      }
      line.steps.push(record.step);
      line.values.push(value);
    }
  }
  const charts = new Map<string, ChartSeries[]>(RULES.map((rule) => [rule.title, []]));
  // A training metric comes before its held-out counterpart.
  const keys = [...lines.keys()].sort((a, b) => Number(isHeldOut(a)) - Number(isHeldOut(b)));
  for (const key of keys) {
    const title = RULES.find((rule) => rule.keys.test(key))?.title ?? key;
    const { steps, values } = lines.get(key) ?? { steps: [], values: [] };
    charts.set(title, [...charts.get(title) ?? [], { key, ...thinLine(steps, values, maxPoints) }]);
  }
  return [...charts].filter(([, series]) => series.length > 0).map(([title, series]) => ({
    title,
    primary: RULES.some((rule) => rule.title === title && rule.primary === true),
    series,
  })).sort((a, b) => Number(b.primary) - Number(a.primary));
}

function isHeldOut(key: string): boolean {
  return key.startsWith("eval_");
}

/**
 * Thins a line: of each group of points the lowest and the highest stay, so that spikes stay.
 *
 * @param steps in rising order
 * @param values as many
 * @param maxPoints at least 4
 */
export function thinLine(
  steps: readonly number[],
  values: readonly number[],
  maxPoints: number,
): { steps: number[]; values: number[] } {
  const round = (value: number) => Number(value.toPrecision(6));
  if (steps.length <= maxPoints) return { steps: [...steps], values: values.map(round) };
  // The first and the last point always stay.
  const inner = steps.length - 2;
  const stretches = Math.floor((maxPoints - 2) / 2);
  const kept = [0];
  for (let stretch = 0; stretch < stretches; stretch++) {
    const from = 1 + Math.floor(stretch * inner / stretches);
    const to = 1 + Math.floor((stretch + 1) * inner / stretches);
    let low = from, high = from;
    for (let i = from; i < to; i++) {
      if (values[i] < values[low]) low = i;
      if (values[i] > values[high]) high = i;
    }
    kept.push(Math.min(low, high));
    if (low !== high) kept.push(Math.max(low, high));
  }
  kept.push(steps.length - 1);
  return { steps: kept.map((i) => steps[i]), values: kept.map((i) => round(values[i])) };
}
