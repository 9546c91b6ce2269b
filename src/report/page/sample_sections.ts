/**
 * The sections of report.html that show what the model answers: answers of the last evaluation, and
 * completions with their rewards.
 *
 * @module
 */
import { formatNumber } from "../terminal/console_table.ts";
import { escapeHtml } from "./escape.ts";
import type { ReportContents, ShownCompletion, ShownSample } from "./report_contents.ts";

/** Questions with their pictures, the expected answer and the model's. */
export function renderSamples({ samples, samplesStep }: ReportContents): string {
  if (samples.length === 0) return "";
  const judged = samples.filter((sample) => sample.correct !== null);
  const right = judged.filter((sample) => sample.correct).length;
  const score = judged.length === 0 ? "" : `, ${right} of ${judged.length} right`;
  return `<section aria-labelledby="samples"><div class="sectionline"><h2 id="samples">Sample answers</h2><span class="quiet">held out, at step ${samplesStep}${score}</span></div>
<div class="cards">${samples.map(renderSample).join("\n")}</div></section>`;
}

function renderSample(sample: ShownSample): string {
  const verdict = sample.correct === null
    ? ""
    : sample.correct
    ? `<span class="badge good">✓ right</span>`
    : `<span class="badge bad">✗ wrong</span>`;
  const answers: [string, string][] = [["Answer", sample.answer]];
  if (sample.expected !== null) answers.push(["Expected", sample.expected]);
  if (sample.earlier !== null) {
    answers.push([`At step ${sample.earlier.step}`, sample.earlier.answer]);
  }
  return `<article class="card sample">${renderPictures(sample.pictures)}
<p class="question">${escapeHtml(sample.question)}</p>
<dl class="answers">${
    answers.map(([name, text]) =>
      `<dt>${escapeHtml(name)}</dt><dd><div class="long">${shownText(text)}</div></dd>`
    ).join("")
  }</dl>
<div>${verdict}</div></article>`;
}

/** Completions of one step, those of one prompt together. */
export function renderCompletions({ completions }: ReportContents): string {
  if (completions.length === 0) return "";
  const groups = new Map<string, ShownCompletion[]>();
  for (const row of completions) {
    const key = `${row.step}\n${row.prompt}`;
    groups.set(key, [...groups.get(key) ?? [], row]);
  }
  const cards = [...groups.values()].map((rows) => {
    const [{ prompt, pictures, expected }] = rows;
    const wanted = expected === undefined || expected === null
      ? ""
      : `<p class="quiet">Expected: ${escapeHtml(expected)}</p>`;
    return `<article class="card sample">${renderPictures(pictures)}
<p class="question long">${escapeHtml(prompt)}</p>${wanted}
<div>${rows.map(renderCompletion).join("\n")}</div></article>`;
  });
  return `<section aria-labelledby="completions"><div class="sectionline"><h2 id="completions">Completions and their rewards</h2><span class="quiet">at step ${
    completions[completions.length - 1].step
  }</span></div>
<div class="cards wide">${cards.join("\n")}</div></section>`;
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

function renderPictures(pictures: readonly string[]): string {
  if (pictures.length === 0) return "";
  // Only what thumbnailUrl() makes is accepted.
  const images = pictures.map((url, i) =>
    /^data:image\/png;base64,[A-Za-z0-9+/=]+$/.test(url)
      ? `<img src="${url}" alt="picture ${i + 1} of the question">`
      : `<span class="nopicture">(this picture cannot be shown)</span>`
  );
  return `<div class="pictures">${images.join("")}</div>`;
}

function shownText(text: string): string {
  return text === "" ? `<span class="quiet">(nothing)</span>` : escapeHtml(text);
}
