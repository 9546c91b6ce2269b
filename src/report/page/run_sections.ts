/**
 * The sections of report.html about the run itself: its state, what ran, what went wrong, what
 * to run next.
 *
 * @module
 */
import { formatNumber } from "../terminal/console_table.ts";
import { formatDuration } from "../terminal/duration.ts";
import { type MetricsRecord, numericMetrics } from "../files/metrics_record.ts";
import { escapeHtml } from "./escape.ts";
import type { ReportContents, RunStatus } from "./report_contents.ts";

const STATUS: Readonly<Record<RunStatus, readonly [string, string]>> = {
  running: ["▶ running", ""],
  done: ["✓ done", "good"],
  doubtful: ["! finished, with doubts", "warn"],
  interrupted: ["❚❚ interrupted", "warn"],
  failed: ["✗ failed", "bad"],
};

/** Title, status, progress and the few numbers that say most. */
export function renderHeader(contents: ReportContents): string {
  const [status, tone] = STATUS[contents.status];
  const { step, totalSteps } = contents;
  const message = contents.message === null
    ? ""
    : `<p class="notice ${contents.status === "failed" ? "bad" : "warn"}">${
      escapeHtml(contents.message)
    }</p>`;
  return `<header class="top">
<div class="titleline"><h1>${
    escapeHtml(contents.title)
  }</h1><span class="badge ${tone}">${status}</span></div>
<progress max="${Math.max(1, totalSteps)}" value="${
    Math.min(step, totalSteps)
  }">${step} of ${totalSteps} steps</progress>
${message}
<dl class="tiles">${headlines(contents).map(renderTile).join("\n")}</dl>
</header>`;
}

interface Headline {
  readonly name: string;
  readonly value: string;
  readonly note: string;
}

function renderTile({ name, value, note }: Headline): string {
  const small = note === "" ? "" : `<small>${escapeHtml(note)}</small>`;
  return `<div class="card tile"><dt>${escapeHtml(name)}</dt><dd>${
    escapeHtml(value)
  }${small}</dd></div>`;
}

function headlines(contents: ReportContents): Headline[] {
  const { records, step, totalSteps, startedAt, updatedAt, secondsLeft } = contents;
  const left = contents.status === "running" && secondsLeft !== null
    ? `${formatDuration(secondsLeft)} left`
    : "";
  const tiles: Headline[] = [
    { name: "Steps", value: `${formatNumber(step)} / ${formatNumber(totalSteps)}`, note: left },
    {
      name: "Time",
      value: formatDuration((updatedAt - startedAt) / 1000),
      note: contents.startedAtStep > 0 ? `since step ${contents.startedAtStep}` : "",
    },
  ];
  const names = [...new Set(records.flatMap((record) => Object.keys(record)))];
  const accuracy = names.filter((name) => /^eval_.*(exact_match|accurac)/.test(name));
  for (
    const [key, name, percent] of [
      ["loss", "Training loss", false],
      ["eval_loss", "Held-out loss", false],
      ...accuracy.slice(0, 2).map((key) => [key, key, true] as const),
      ["reward", "Reward", false],
      ["eval_reward", "Held-out reward", false],
    ] as const
  ) {
    const values = valuesOf(records, key);
    if (values.length === 0) continue;
    const show = (value: number) => percent ? `${(100 * value).toFixed(1)} %` : formatNumber(value);
    const first = values.length > 1 ? `${show(values[0])} at first` : "";
    tiles.push({ name, value: show(values[values.length - 1]), note: first });
  }
  const speed = valuesOf(records, "tokens_per_second");
  if (speed.length > 0) {
    const value = formatNumber(Math.round(speed[speed.length - 1]));
    tiles.push({ name: "Tokens per second", value, note: "" });
  }
  for (
    const [key, name] of [
      ["peak_memory_bytes", "Peak memory"],
      ["peak_gpu_memory_bytes", "Peak GPU memory"],
    ]
  ) {
    const measured = valuesOf(records, key).at(-1);
    const bytes = key === "peak_memory_bytes" ? contents.peakMemoryBytes ?? measured : measured;
    if (bytes === undefined) continue;
    tiles.push({ name, value: `${(bytes / 2 ** 30).toFixed(2)} GiB`, note: "" });
  }
  return tiles;
}

function valuesOf(records: readonly MetricsRecord[], key: string): number[] {
  return records.map((record) => record[key]).filter((v): v is number =>
    typeof v === "number" && Number.isFinite(v)
  );
}

/** What the user should know, each once, with how often it came. */
export function renderWarnings({ warnings }: ReportContents): string {
  if (warnings.length === 0) return "";
  const notices = warnings.map(({ step, text, count }) => {
    const often = count > 1 ? `first at step ${step}, ${count} times` : `at step ${step}`;
    return `<p class="notice warn">${escapeHtml(text)} <span class="quiet">(${often})</span></p>`;
  });
  return `<section aria-labelledby="warnings"><h2 id="warnings">Warnings</h2>${
    notices.join("\n")
  }</section>`;
}

/** What reward modules printed and were refused, apart from the warnings of the trainer. */
export function renderModuleLines({ moduleLines }: ReportContents): string {
  if (moduleLines.length === 0) return "";
  return `<section aria-labelledby="modules"><h2 id="modules">From reward modules</h2><pre>${
    moduleLines.map(escapeHtml).join("\n")
  }</pre></section>`;
}

/** Tables of results, as before and after. */
export function renderTables({ tables }: ReportContents): string {
  if (tables.length === 0) return "";
  const cards = tables.map((table) => {
    const numeric = table.columns.map((_, i) => table.rows.some((r) => typeof r[i] === "number"));
    const tone = (i: number) => numeric[i] ? ` class="number"` : "";
    const head = table.columns.map((c, i) => `<th scope="col"${tone(i)}>${escapeHtml(c)}</th>`);
    const body = table.rows.map((row) =>
      `<tr>${
        table.columns.map((_, i) => {
          const cell = row[i] ?? null;
          const text = cell === null ? "–" : typeof cell === "number" ? formatNumber(cell) : cell;
          return `<td${tone(i)}>${escapeHtml(text)}</td>`;
        }).join("")
      }</tr>`
    );
    return `<div class="card scroll"><table><caption>${
      escapeHtml(table.title)
    }</caption><thead><tr>${head.join("")}</tr></thead><tbody>${
      body.join("")
    }</tbody></table></div>`;
  });
  return `<section aria-labelledby="results"><h2 id="results">Results</h2><div class="facts">${
    cards.join("\n")
  }</div></section>`;
}

/** Commands to go on with. */
export function renderNext({ next }: ReportContents): string {
  if (next.length === 0) return "";
  const items = next.map(({ label, command }) =>
    `<li>${escapeHtml(label)}<div class="command"><pre>${
      escapeHtml(command)
    }</pre><button type="button" data-copy hidden>Copy</button></div></li>`
  );
  return `<section aria-labelledby="next"><h2 id="next">What to run next</h2><div class="card"><ul class="next">${
    items.join("\n")
  }</ul></div></section>`;
}

/** What ran: model, data, device, and the whole configuration to unfold. */
export function renderFacts({ facts, configYaml }: ReportContents): string {
  const groups = facts.map(({ title, facts }) =>
    `<div class="card"><h3>${escapeHtml(title)}</h3><dl>${
      facts.map(([name, value]) =>
        `<dt>${escapeHtml(name)}</dt><dd>${
          escapeHtml(typeof value === "number" ? formatNumber(value) : value)
        }</dd>`
      ).join("")
    }</dl></div>`
  );
  const config = configYaml === ""
    ? ""
    : `<details><summary>The resolved configuration</summary><pre>${
      escapeHtml(configYaml)
    }</pre></details>`;
  if (groups.length === 0 && config === "") return "";
  return `<section aria-labelledby="facts"><h2 id="facts">What ran</h2><div class="facts">${
    groups.join("\n")
  }</div>${config}</section>`;
}

const SKIPPED_SHOWN = 50;

/** Rows that were left out, with their reasons. */
export function renderSkipped({ skipped }: ReportContents): string {
  if (skipped.count === 0) return "";
  const rows = skipped.rows.slice(0, SKIPPED_SHOWN).map(({ place, reason }) =>
    `<tr><td>${escapeHtml(place)}</td><td>${escapeHtml(reason)}</td></tr>`
  );
  const more = skipped.count > rows.length
    ? `<p class="quiet">and ${skipped.count - rows.length} more</p>`
    : "";
  const of = skipped.total > 0 ? ` of ${formatNumber(skipped.total)}` : "";
  return `<section aria-labelledby="skipped"><h2 id="skipped">Skipped rows: ${
    formatNumber(skipped.count)
  }${of}</h2><div class="card scroll"><table><thead><tr><th scope="col">Row</th><th scope="col">Reason</th></tr></thead><tbody>${
    rows.join("\n")
  }</tbody></table>${more}</div></section>`;
}

/** Every metric's last value: what the curves say, for those who cannot see them. */
export function renderLastValues({ records }: ReportContents): string {
  const last = new Map<string, { step: number; value: number }>();
  for (const record of records) {
    for (const [key, value] of numericMetrics(record)) last.set(key, { step: record.step, value });
  }
  if (last.size === 0) return "";
  const rows = [...last].map(([key, { step, value }]) =>
    `<tr><th scope="row">${escapeHtml(key)}</th><td class="number">${
      escapeHtml(formatNumber(value))
    }</td><td class="number">${step}</td></tr>`
  ).join("\n");
  const table =
    `<div class="card scroll"><table><thead><tr><th scope="col">Metric</th><th scope="col" class="number">Last value</th><th scope="col" class="number">Step</th></tr></thead><tbody>${rows}</tbody></table></div>`;
  return `<noscript><h2>Last values</h2>${table}</noscript>
<details><summary>Every metric's last value</summary>${table}</details>`;
}
