/**
 * Pages over many runs: a list of them, and any two beside each other.
 *
 * @module
 */
import { formatNumber } from "../terminal/console_table.ts";
import { type MetricChart, metricCharts } from "../page/metric_charts.ts";
import type { ChartLibrary } from "../page/chart_library.ts";
import { escapeHtml } from "../page/escape.ts";
import { renderChartPage } from "../page/report_page.ts";
import { type FoundRun, lastValues } from "./run_reader.ts";

/** Numbers that tell most of a run, if it has them. */
const HEADLINES = [
  "loss",
  "eval_loss",
  "eval_exact_match",
  "eval_rewards/accuracies",
  "reward",
] as const;

function link(path: string, query: Readonly<Record<string, string>>): string {
  return escapeHtml(`${path}?${new URLSearchParams(query)}`);
}

function timeElement(ms: number): string {
  const iso = new Date(ms).toISOString();
  return `<time datetime="${iso}">${iso.slice(0, 16).replace("T", " ")} UTC</time>`;
}

function rowOf(run: FoundRun): string {
  const values = lastValues(run.records);
  const name = escapeHtml(run.name);
  const title = run.hasReport
    ? `<a href="${link("/report", { run: run.name })}">${name}</a>`
    : name;
  const numbers = HEADLINES.map((key) => {
    const value = values.get(key);
    return `<td class="number">${value === undefined ? "–" : formatNumber(value)}</td>`;
  });
  return `<tr><th scope="row">${title}</th><td>${escapeHtml(run.trainingType ?? "?")}</td>` +
    `<td class="number">${run.step}</td>${numbers.join("")}<td>${timeElement(run.updatedAt)}</td>` +
    `<td><input type="checkbox" name="run" value="${name}" aria-label="Compare ${name}"></td></tr>`;
}

/**
 * The list of the runs below a folder.
 *
 * @param folder as the user named it
 */
export async function renderRunList(
  folder: string,
  runs: readonly FoundRun[],
  library: ChartLibrary,
): Promise<string> {
  const columns = ["run", "trainer", "step", ...HEADLINES, "measured last", "compare"];
  const table = runs.length === 0
    ? `<p class="notice warn">There is no run below this folder yet: a run writes metrics.jsonl.</p>`
    : `<form action="/compare"><div class="scroll"><table>
<thead><tr>${
      columns.map((name) => `<th scope="col">${escapeHtml(name)}</th>`).join("")
    }</tr></thead>
<tbody>${runs.map(rowOf).join("\n")}</tbody></table></div>
<p><button type="submit">Compare the chosen runs</button></p></form>`;
  return await renderChartPage({
    title: `Runs in ${folder}`,
    header: `<header class="top"><h1>Runs in ${escapeHtml(folder)}</h1></header>`,
    main: table,
    charts: [],
    formAction: "'self'",
  }, library);
}

/** The charts of several runs in one: each line bears its run's name. */
export function joinedCharts(runs: readonly FoundRun[]): MetricChart[] {
  const joined = new Map<string, MetricChart>();
  for (const { name, records } of runs) {
    for (const { title, unit, primary, series } of metricCharts(records)) {
      const before = joined.get(title)?.series ?? [];
      const named = series.map((line) => ({ ...line, key: `${name}: ${line.key}`, name: null }));
      joined.set(title, { title, unit, primary, series: [...before, ...named] });
    }
  }
  return [...joined.values()].sort((a, b) => Number(b.primary) - Number(a.primary));
}

/** Runs beside each other: their curves in the same charts, and the last value of each metric. */
export async function renderComparison(
  runs: readonly FoundRun[],
  library: ChartLibrary,
): Promise<string> {
  const values = runs.map(({ records }) => lastValues(records));
  const keys = [...new Set(values.flatMap((one) => [...one.keys()]))].sort();
  const head = ["metric", ...runs.map(({ name }) => name)]
    .map((name) => `<th scope="col">${escapeHtml(name)}</th>`).join("");
  const rows = keys.map((key) => {
    const cells = values.map((one) => {
      const value = one.get(key);
      return `<td class="number">${value === undefined ? "–" : formatNumber(value)}</td>`;
    });
    return `<tr><th scope="row">${escapeHtml(key)}</th>${cells.join("")}</tr>`;
  });
  const names = runs.map(({ name }) => escapeHtml(name)).join(" and ");
  return await renderChartPage({
    title: runs.map(({ name }) => name).join(" and "),
    header: `<header class="top"><h1>${names}</h1><p><a href="/">All runs</a></p></header>`,
    main:
      `<section><h2>Last values</h2><div class="scroll"><table><thead><tr>${head}</tr></thead>` +
      `<tbody>${rows.join("\n")}</tbody></table></div></section>`,
    charts: joinedCharts(runs),
  }, library);
}
