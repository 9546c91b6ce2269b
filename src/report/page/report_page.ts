/**
 * The whole of report.html, as one file that loads nothing from the network.
 *
 * @module
 */
import { renderAnswers, renderConfusions } from "./answer_sections.ts";
import type { ChartLibrary } from "./chart_library.ts";
import { renderCompletions } from "./completion_sections.ts";
import { escapeHtml, jsonForScript } from "./escape.ts";
import { type MetricChart, metricCharts } from "./metric_charts.ts";
import { PAGE_SCRIPT } from "./page_script.ts";
import { PAGE_STYLE } from "./page_style.ts";
import type { ReportContents } from "./report_contents.ts";
import {
  renderFacts,
  renderHeader,
  renderLastValues,
  renderModuleLines,
  renderNext,
  renderSkipped,
  renderTables,
  renderWarnings,
} from "./run_sections.ts";
import { sourceHash } from "./source_hash.ts";

/** A page with charts: what is shown before them and after them. */
export interface ChartPage {
  readonly title: string;
  /** HTML above the page's main part. */
  readonly header: string;
  /** HTML before the charts. */
  readonly before?: string;
  readonly charts: readonly MetricChart[];
  /** Whether the run goes on, so that the page updates itself. */
  readonly isRunning?: boolean;
  /** HTML after the charts. */
  readonly main: string;
  /** HTML at the end. */
  readonly footer?: string;
  /** Where forms may lead, as the policy writes it; nowhere by default. */
  readonly formAction?: string;
}

/**
 * Renders a page with charts.
 *
 * The Content-Security-Policy names our scripts and styles by their SHA-256: whatever a data set
 * or a model says, nothing else on the page runs, and nothing is loaded.
 *
 * @param page what to show
 * @param library uPlot's text
 * @returns HTML
 */
export async function renderChartPage(page: ChartPage, library: ChartLibrary): Promise<string> {
  const { charts, formAction = "'none'" } = page;
  const points = Math.max(0, ...charts.flatMap((c) => c.series.map((s) => s.values.length)));
  const data = { charts, smoothing: points >= 60 ? 0.6 : 0 };
  const [librarySum, scriptSum, libraryStyleSum, styleSum] = await Promise.all(
    [library.script, PAGE_SCRIPT, library.style, PAGE_STYLE].map(sourceHash),
  );
  const policy = `default-src 'none'; img-src data:; script-src ${librarySum} ${scriptSum}; ` +
    `style-src ${libraryStyleSum} ${styleSum}; base-uri 'none'; form-action ${formAction}` +
    // A page that is served while it changes asks for its newer states.
    (page.isRunning ? "; connect-src 'self'" : "");
  const shown = page.before === undefined && charts.length === 0
    ? ""
    : renderCharts(charts, page.isRunning ?? false, points);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<title>${escapeHtml(page.title)}</title>
<!-- The curves are drawn by uPlot:
${library.licence.replaceAll("--", "––").trim()}
-->
<style>${library.style}</style>
<style>${PAGE_STYLE}</style>
</head>
<body>
${page.header}
<main>
${page.before ?? ""}
${shown}
${page.main}
</main>
<footer>${page.footer ?? "This page loads nothing from anywhere."}</footer>
<script type="application/json" id="report-data">${jsonForScript(data)}</script>
<script>${library.script}</script>
<script>${PAGE_SCRIPT}</script>
</body>
</html>
`;
}

/**
 * Renders the page of a run.
 *
 * @param contents what to show
 * @param library uPlot's text
 * @returns HTML
 */
export async function renderReport(
  contents: ReportContents,
  library: ChartLibrary,
): Promise<string> {
  const isRunning = contents.status === "running";
  // Curves matter most while a run goes on, answers when it is over.
  const answers = [renderAnswers(contents), renderConfusions(contents)];
  return await renderChartPage({
    title: contents.title,
    header: renderHeader(contents),
    before: [
      renderWarnings(contents),
      renderModuleLines(contents),
      renderTables(contents),
      ...(isRunning ? [] : answers),
    ].join("\n"),
    charts: metricCharts(contents.records),
    isRunning,
    main: [
      ...(isRunning ? answers : []),
      renderCompletions(contents),
      renderNext(contents),
      renderFacts(contents),
      renderSkipped(contents),
      renderLastValues(contents),
    ].join("\n"),
    footer: `Written ${
      timeElement(contents.updatedAt)
    } by @nanovlm/lab. The numbers are in metrics.jsonl beside this page; it loads nothing from anywhere.`,
  }, library);
}

function renderCharts(
  charts: readonly MetricChart[],
  running: boolean,
  points: number,
): string {
  const reload = running
    ? `<label><input type="checkbox" id="reload"> Update while it runs</label>`
    : "";
  if (charts.length === 0) {
    return `<section aria-labelledby="curves">
<div class="sectionline"><h2 id="curves">Curves</h2><div class="controls">${reload}</div></div>
<p class="quiet">Nothing has been measured yet: the first numbers come with the first log (training.logging_steps).</p></section>`;
  }
  const smoothing = points > 20
    ? `<label>Smoothing <input type="range" id="smoothing" min="0" max="0.99" step="0.01"> <output id="smoothing-value"></output></label>`
    : "";
  const primary = charts.filter((chart) => chart.primary).length;
  const figures = charts.map((chart, i) => {
    const last = chart.series.map(({ name, key, values }) => `${name ?? key} ${values.at(-1)}`);
    return `<figure class="card chart" id="chart-${i}">
<figcaption><h3>${escapeHtml(chart.title)}</h3><span class="tools"></span></figcaption>
<p class="axis">${escapeHtml(chart.unit)}</p>
<div class="plot" role="img" aria-label="${
      escapeHtml(`${chart.title} (${chart.unit}) over the steps; last: ${last.join(", ")}`)
    }"></div>
<p class="axis steps">optimizer steps</p>
<div class="legend"></div>
</figure>`;
  });
  return `<section aria-labelledby="curves">
<div class="sectionline"><h2 id="curves">Curves</h2><div class="controls">${smoothing}${reload}</div></div>
<noscript><p class="notice warn">The curves need JavaScript. Every metric's last value is in the table at the end of the page.</p></noscript>
<div class="charts">
${figures.slice(0, primary).join("\n")}
</div>
${
    primary === figures.length
      ? ""
      : `<details id="more"${primary === 0 ? " open" : ""}><summary>More curves (${
        figures.length - primary
      })</summary><div class="charts">
${figures.slice(primary).join("\n")}
</div></details>`
  }
</section>`;
}

/** A time that reads the same everywhere. */
function timeElement(ms: number): string {
  const iso = new Date(ms).toISOString();
  return `<time datetime="${iso}">${iso.slice(0, 16).replace("T", " ")} UTC</time>`;
}
