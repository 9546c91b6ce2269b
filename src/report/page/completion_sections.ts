/**
 * The section of report.html that shows sampled completions with their rewards, by prompt.
 *
 * @module
 */
import { formatNumber } from "../terminal/console_table.ts";
import { escapeHtml } from "./escape.ts";
import type { ReportContents, ShownCompletion } from "./report_contents.ts";
import { renderPictures, shownText } from "./shown_parts.ts";

/** Completions of a prompt that are shown, the best and the worst ones. */
const MOST_OF_A_PROMPT = 8;

/** Completions of one step, those of one prompt together, the best one first. */
export function renderCompletions({ completions }: ReportContents): string {
  if (completions.length === 0) return "";
  const groups = new Map<string, ShownCompletion[]>();
  for (const row of completions) {
    // Two prompts may have the same text and different pictures.
    const key = `${row.step}\n${row.group ?? row.prompt}`;
    groups.set(key, [...groups.get(key) ?? [], row]);
  }
  return `<section aria-labelledby="completions"><div class="sectionline"><h2 id="completions">Completions and their rewards</h2><span class="quiet">sampled in training, at step ${
    completions[completions.length - 1].step
  }</span></div>
<div class="cards wide">${[...groups.values()].map(renderGroup).join("\n")}</div></section>`;
}

function renderGroup(rows: readonly ShownCompletion[]): string {
  const [{ prompt, pictures, expected }] = rows;
  const wanted = expected === undefined || expected === null
    ? ""
    : `<p class="quiet">Expected: ${escapeHtml(expected)}</p>`;
  const ordered = rows.toSorted((a, b) => (b.reward ?? -Infinity) - (a.reward ?? -Infinity));
  const half = MOST_OF_A_PROMPT / 2;
  const left = ordered.length - MOST_OF_A_PROMPT;
  const between = `<p class="quiet">and ${left} between these</p>`;
  const shown = left <= 0 ? ordered.map(renderCompletion) : [
    ...ordered.slice(0, half).map(renderCompletion),
    between,
    ...ordered.slice(-half).map(renderCompletion),
  ];
  return `<article class="card sample">${renderPictures(pictures)}
<p class="question long">${escapeHtml(prompt)}</p>${wanted}
<div>${shown.join("\n")}</div></article>`;
}

function renderCompletion(row: ShownCompletion): string {
  const chips = Object.entries(row.rewards).map(([name, score]) =>
    `<span class="chip">${escapeHtml(name)} <b>${
      score === null ? "–" : escapeHtml(formatNumber(score))
    }</b></span>`
  );
  if (row.advantage !== null) {
    const tone = row.advantage > 0 ? "good" : row.advantage < 0 ? "bad" : "";
    const sign = row.advantage > 0 ? "+" : "";
    chips.push(
      `<span class="chip ${tone}">advantage <b>${sign}${row.advantage.toFixed(2)}</b></span>`,
    );
  }
  if (row.finish_reason === "length") chips.push(`<span class="chip bad">cut off</span>`);
  return `<div class="completion"><p class="long">${
    shownText(row.completion)
  }</p><div class="chips">${chips.join("")}</div></div>`;
}
