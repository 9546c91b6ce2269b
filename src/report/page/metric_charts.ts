import { type MetricsRecord, numericMetrics } from "../files/metrics_record.ts";
import { CHART_RULES } from "./chart_rules.ts";
import { plainName } from "./metric_names.ts";

/** One line of a chart. */
export interface ChartSeries {
  /** The metric's name in metrics.jsonl. */
  readonly key: string;
  /** What it is in plain words; null if the key says it. */
  readonly name: string | null;
  /** Optimizer steps, rising. */
  readonly steps: readonly number[];
  /** The value at each step. */
  readonly values: readonly number[];
}

/** Metrics that belong in one picture. */
export interface MetricChart {
  /** What it shows. */
  readonly title: string;
  /** Title of the vertical axis: what is counted, and in which unit. */
  readonly unit: string;
  /** Whether it stands among the first, or is folded away under "More curves". */
  readonly primary: boolean;
  /** At least one. */
  readonly series: readonly ChartSeries[];
}

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
  for (const key of equalRates(lines)) lines.delete(key);
  const charts = new Map<string, ChartSeries[]>(CHART_RULES.map(({ title }) => [title, []]));
  // A training metric comes before its held-out counterpart.
  const keys = [...lines.keys()].sort((a, b) => Number(isHeldOut(a)) - Number(isHeldOut(b)));
  for (const key of keys) {
    const title = CHART_RULES.find((rule) => rule.keys.test(key))?.title ?? key;
    const { steps, values } = lines.get(key) ?? { steps: [], values: [] };
    const series = { key, name: plainName(key), ...thinLine(steps, values, maxPoints) };
    charts.set(title, [...charts.get(title) ?? [], series]);
  }
  // The loss of a policy gradient is about 0 whatever the policy does: its reward says how it stands.
  const hasReward = lines.has("reward") || lines.has("eval_reward");
  return [...charts].filter(([, series]) => series.length > 0).map(([title, series]) => {
    const rule = CHART_RULES.find((rule) => rule.title === title);
    const primary = rule?.primary === true && !(hasReward && title === "Loss");
    return { title, unit: rule?.unit ?? "value", primary, series };
  }).sort((a, b) => Number(b.primary) - Number(a.primary));
}

/** Learning rates of groups that are the run's own one throughout. */
function equalRates(
  lines: ReadonlyMap<string, { readonly steps: number[]; readonly values: number[] }>,
): string[] {
  const whole = JSON.stringify(lines.get("learning_rate"));
  return [...lines].filter(([key, line]) =>
    key.startsWith("learning_rate/") && JSON.stringify(line) === whole
  ).map(([key]) => key);
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
