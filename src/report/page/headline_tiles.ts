/**
 * The few numbers at the top of a report that say most: first what the run is for, then how far and
 * how fast it went.
 *
 * @module
 */
import { type MetricsRecord, numericMetrics } from "../files/metrics_record.ts";
import { formatNumber } from "../terminal/console_table.ts";
import { formatDuration } from "../terminal/duration.ts";
import { escapeHtml } from "./escape.ts";
import { plainName } from "./metric_names.ts";
import type { ReportContents } from "./report_contents.ts";

interface Tile {
  readonly name: string;
  readonly value: string;
  readonly note: string;
}

/** Metrics that a trainer is judged by, the first ones first. */
const JUDGED_BY: readonly (readonly [key: RegExp, percent: boolean])[] = [
  [/^eval_(?!.*\/).*(exact_match|accuracy)$/, true],
  [/^eval_reward$/, false],
  [/^reward$/, false],
  [/^eval_rewards\/margins$/, false],
  [/^eval_loss$/, false],
  [/^loss$/, false],
];

/** Tiles of metrics, at most. */
const MOST = 3;

function renderTile({ name, value, note }: Tile): string {
  const small = note === "" ? "" : `<small>${escapeHtml(note)}</small>`;
  return `<div class="card tile"><dt>${escapeHtml(name)}</dt><dd>${
    escapeHtml(value)
  }${small}</dd></div>`;
}

/** A value with the step at which it was measured. */
interface Measured {
  readonly step: number;
  readonly value: number;
}

function measuredMetrics(records: readonly MetricsRecord[]): Map<string, Measured[]> {
  const byKey = new Map<string, Measured[]>();
  for (const record of records) {
    for (const [key, value] of numericMetrics(record)) {
      const list = byKey.get(key) ?? [];
      byKey.set(key, list);
      list.push({ step: record.step, value });
    }
  }
  return byKey;
}

/** What a metric was at first: before training if that was measured. */
function firstNote(
  key: string,
  values: readonly Measured[],
  { before }: ReportContents,
  show: (value: number) => string,
): string {
  const measured = before?.[key];
  if (measured !== undefined) return `${show(measured)} before training`;
  const [first] = values;
  return values.length > 1 ? `${show(first.value)} at step ${first.step}` : "";
}

function metricTiles(contents: ReportContents, metrics: ReadonlyMap<string, Measured[]>): Tile[] {
  const hasReward = metrics.has("reward") || metrics.has("eval_reward");
  const told = new Set(contents.headlines.map(({ key }) => key));
  const tiles: Tile[] = [];
  for (const [pattern, percent] of JUDGED_BY) {
    for (const [key, values] of metrics) {
      // GRPO's loss is about 0 whatever the policy does.
      if (!pattern.test(key) || told.has(key) || (hasReward && /^(eval_)?loss$/.test(key))) {
        continue;
      }
      const show = (value: number) =>
        percent ? `${(100 * value).toFixed(1)} %` : formatNumber(value);
      tiles.push({
        name: capitalised(plainName(key) ?? key),
        value: show(values[values.length - 1].value),
        note: firstNote(key, values, contents, show),
      });
    }
  }
  return tiles;
}

function capitalised(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

/** Steps, time, speed and memory. */
function courseTiles(contents: ReportContents, metrics: ReadonlyMap<string, Measured[]>): Tile[] {
  const { step, totalSteps, startedAt, updatedAt, secondsLeft, startedAtStep } = contents;
  const last = (key: string) => metrics.get(key)?.at(-1)?.value;
  const isRunning = contents.status === "running";
  const left = isRunning && secondsLeft !== null ? `${formatDuration(secondsLeft)} left` : "";
  const tiles: Tile[] = [
    { name: "Steps", value: `${formatNumber(step)} / ${formatNumber(totalSteps)}`, note: left },
    {
      name: "Time",
      value: formatDuration((updatedAt - startedAt) / 1000),
      note: startedAtStep > 0 ? `since step ${startedAtStep}` : "",
    },
  ];
  const speed = last("tokens_per_second");
  if (speed !== undefined) {
    tiles.push({
      name: "Speed",
      value: formatNumber(Math.round(speed)),
      note: "tokens a second",
    });
  }
  const memory: readonly (readonly [string, number | undefined])[] = [
    ["Peak memory", contents.peakMemoryBytes ?? last("peak_memory_bytes")],
    ["Peak GPU memory", last("peak_gpu_memory_bytes")],
  ];
  for (const [name, bytes] of memory) {
    if (bytes === undefined) continue;
    tiles.push({ name, value: `${(bytes / 2 ** 30).toFixed(2)} GiB`, note: "" });
  }
  return tiles;
}

/** The tiles below the title. */
export function renderTiles(contents: ReportContents): string {
  const metrics = measuredMetrics(contents.records);
  const achieved: Tile[] = contents.headlines.map(({ name, value, before }) => ({
    name,
    value,
    note: before === null ? "" : `${before} before training`,
  }));
  const tiles = [...achieved, ...metricTiles(contents, metrics)].slice(0, MOST);
  return `<dl class="tiles">${
    [...tiles, ...courseTiles(contents, metrics)].map(renderTile).join("\n")
  }</dl>`;
}
