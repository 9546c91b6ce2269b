/**
 * The sections of report.html about the run itself: its state, what ran, what went wrong, what
 * to run next.
 *
 * @module
 */
import { formatNumber } from "../terminal/console_table.ts";
import { numericMetrics } from "../files/metrics_record.ts";
import { escapeHtml } from "./escape.ts";
import { renderTiles } from "./headline_tiles.ts";
import { plainName } from "./metric_names.ts";
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
${renderTiles(contents)}
</header>`;
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

/** Opens a card that the keyboard can scroll, too. */
function scrolledCard(name: string): string {
  return `<div class="card scroll" tabindex="0" role="group" aria-label="${escapeHtml(name)}">`;
}

/** Tables of results, as before and after. */
export function renderTables({ tables }: ReportContents): string {
  if (tables.length === 0) return "";
  const cards = tables.map((table) => {
    const isNumber = (cell: string | number | null) =>
      typeof cell === "number" || /^[-−+]?[\d.,]+ %$/.test(cell ?? "");
    const numeric = table.columns.map((_, i) => table.rows.some((row) => isNumber(row[i] ?? null)));
    const tone = (i: number) => numeric[i] ? ` class="number"` : "";
    const head = table.columns.map((c, i) => `<th scope="col"${tone(i)}>${escapeHtml(c)}</th>`);
    const body = table.rows.map((row) =>
      `<tr>${
        table.columns.map((_, i) => {
          const cell = row[i] ?? null;
          const text = cell === null ? "–" : typeof cell === "number" ? formatNumber(cell) : cell;
          // A part of the row above is indented, as on the terminal.
          const part = text.startsWith("  ") ? ` class="part"` : tone(i);
          return `<td${part}>${escapeHtml(text)}</td>`;
        }).join("")
      }</tr>`
    );
    return `${scrolledCard(table.title)}<table><caption>${
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
  }${of}</h2>${
    scrolledCard("Skipped rows")
  }<table><thead><tr><th scope="col">Row</th><th scope="col">Reason</th></tr></thead><tbody>${
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
    `<tr><th scope="row">${escapeHtml(plainName(key) ?? key)}</th><td><code>${
      escapeHtml(key)
    }</code></td><td class="number">${
      escapeHtml(formatNumber(value))
    }</td><td class="number">${step}</td></tr>`
  ).join("\n");
  const table = `${
    scrolledCard("Last values")
  }<table><thead><tr><th scope="col">Metric</th><th scope="col">Name in metrics.jsonl</th><th scope="col" class="number">Last value</th><th scope="col" class="number">Step</th></tr></thead><tbody>${rows}</tbody></table></div>`;
  return `<noscript><h2>Last values</h2>${table}</noscript>
<details><summary>Every metric's last value</summary>${table}</details>`;
}
