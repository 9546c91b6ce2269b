/**
 * The metrics of `eval`: from the command line, to the table and to JSON.
 *
 * @module
 */
import {
  type GroupedScore,
  metricLabels,
  type MetricRequest,
  type MetricScore,
  parseMetric,
} from "../src/evaluate/metrics/metric_tally.ts";
import { formatTable } from "../src/report/terminal/console_table.ts";
import { UsageError } from "./usage_error.ts";

/**
 * The metrics of the command line.
 *
 * @throws {UsageError} if one has no such name or style
 */
export function metricsOf(names: readonly string[]): MetricRequest[] {
  try {
    const metrics = names.map(parseMetric);
    metricLabels(metrics); // refuses a metric that is there twice
    return metrics;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new UsageError(`--metric: ${error.message}`);
  }
}

/** What `--json` says of the metrics. */
export function metricsRecord(metrics: ReadonlyMap<string, GroupedScore>): Record<string, unknown> {
  return Object.fromEntries(
    [...metrics].map(([name, { overall, byGroup, further }]) => [name, {
      ...overall,
      ...further,
      ...(byGroup.size === 0 ? {} : { by_group: Object.fromEntries(byGroup) }),
    }]),
  );
}

/** A row for each metric and group; empty if no metric was asked for. */
export function metricsTable(metrics: ReadonlyMap<string, GroupedScore>): string {
  if (metrics.size === 0) return "";
  const percent = (share: number) => (100 * share).toFixed(1);
  const row = (name: string, { questions, mean, low, high }: MetricScore) => [
    name,
    questions,
    `${percent(mean)} %`,
    `${percent(low)} … ${percent(high)}`,
  ];
  const rows = [...metrics].flatMap(([name, { overall, byGroup, further }]) => [
    ...[...byGroup].map(([group, score]) => row(`  ${name}: ${group}`, score)),
    row(name, overall),
    ...Object.entries(further).filter(([key]) => key !== "accuracy").map((
      [key, value],
    ) => [`  ${name}: ${key}`, overall.questions, `${percent(value)} %`, ""]),
  ]);
  return formatTable(
    [
      { header: "metric" },
      { header: "questions", align: "right" },
      { header: "mean", align: "right" },
      { header: "95 % interval", align: "right" },
    ],
    rows,
  ) + "\n";
}
