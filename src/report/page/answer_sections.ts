/**
 * The sections of report.html that show answers to held-out questions: cards, wrong answers first,
 * and tables of what is mixed up.
 *
 * @module
 */
import { type Confusion, frequentMistakes } from "./confusion.ts";
import { escapeHtml } from "./escape.ts";
import type { EarlierAnswer, ReportContents, ShownSample } from "./report_contents.ts";
import { renderPictures, shownText } from "./shown_parts.ts";

/** Cards that are shown before the reader asks for more. */
const SHOWN_AT_FIRST = 12;

/** How an answer stands against the one before training. */
type Change = "learned" | "lost" | "same";

function changeOf({ correct, earlier }: ShownSample): Change {
  if (earlier === null || earlier.correct === null || earlier.correct === correct) return "same";
  return correct ? "learned" : "lost";
}

/** Questions with their pictures, the expected answer and the model's, before and after. */
export function renderAnswers(contents: ReportContents): string {
  const { samples, samplesStep, judged } = contents;
  if (samples.length === 0) return "";
  const isPairs = samples.some(({ pair }) => pair !== undefined);
  const right = judged ?? {
    right: samples.filter(({ correct }) => correct === true).length,
    total: samples.filter(({ correct }) => correct !== null).length,
  };
  const verdict = isPairs ? "with the chosen answer ahead" : "right";
  const score = right.total === 0 ? "" : `, ${right.right} of ${right.total} ${verdict}`;
  const title = isPairs ? "Preference pairs, wrong ones first" : "Answers, wrong ones first";
  const types = [...new Set(samples.flatMap(({ type }) => type ? [type] : []))].sort();
  return `<section aria-labelledby="samples"><div class="sectionline"><h2 id="samples">${title}</h2><span class="quiet">held out, ${
    samplesStep === 0 ? "before training" : `at step ${samplesStep}`
  }${score}</span></div>
${renderFilters(samples, types)}
<div class="cards${isPairs ? " wide" : ""}" id="answers" data-first="${SHOWN_AT_FIRST}">${
    samples.map((sample) => renderSample(sample, types)).join("\n")
  }</div>
<p class="more"><button type="button" id="more-answers" hidden></button></p></section>`;
}

/** What the cards can be filtered by; shown if the page's script runs. */
function renderFilters(samples: readonly ShownSample[], types: readonly string[]): string {
  const count = (test: (sample: ShownSample) => boolean) => samples.filter(test).length;
  const verdicts: readonly (readonly [string, string, number])[] = [
    ["wrong", "wrong", count(({ correct }) => correct === false)],
    ["right", "right", count(({ correct }) => correct === true)],
    ["learned", "wrong before, right now", count((sample) => changeOf(sample) === "learned")],
    ["lost", "right before, wrong now", count((sample) => changeOf(sample) === "lost")],
  ];
  const shown = verdicts.filter(([, , cards]) => cards > 0);
  if (shown.length < 2 && types.length < 2) return "";
  const verdict = shown.length < 2
    ? ""
    : `<label>Show <select id="filter-verdict"><option value="">all (${samples.length})</option>${
      shown.map(([value, name, cards]) => `<option value="${value}">${name} (${cards})</option>`)
        .join("")
    }</select></label>`;
  const type = types.length < 2
    ? ""
    : `<label>Type <select id="filter-type"><option value="">all</option>${
      types.map((name, i) => {
        const cards = count(({ type }) => type === name);
        return `<option value="${i}">${escapeHtml(name)} (${cards})</option>`;
      }).join("")
    }</select></label>`;
  return `<div class="controls filters" id="filters" hidden>${verdict}${type}<span class="quiet" role="status" id="filtered"></span></div>`;
}

function renderSample(sample: ShownSample, types: readonly string[]): string {
  const { correct, type, pair } = sample;
  const change = changeOf(sample);
  const verdict = correct === null
    ? ""
    : correct
    ? `<span class="badge good">✓ ${pair ? "chosen ahead" : "right"}</span>`
    : `<span class="badge bad">✗ ${pair ? "rejected ahead" : "wrong"}</span>`;
  const changed = change === "same"
    ? ""
    : `<span class="badge">${change === "learned" ? "was wrong" : "was right"}</span>`;
  const kind = type ? `<span class="badge">${escapeHtml(type)}</span>` : "";
  const marks = [
    correct === null ? "" : correct ? "right" : "wrong",
    change === "same" ? "" : change,
  ].join(" ").trim();
  return `<article class="card sample" data-verdict="${marks}" data-type="${
    type ? types.indexOf(type) : ""
  }">${renderPictures(sample.pictures)}
<p class="question">${escapeHtml(sample.question)}</p>
${pair ? renderPair(sample) : renderAnswer(sample)}
<div class="chips">${verdict}${changed}${kind}</div></article>`;
}

function whenText({ step }: EarlierAnswer): string {
  return step === 0 ? "Before training" : `At step ${step}`;
}

function renderAnswer({ answer, expected, earlier, reward }: ShownSample): string {
  const lines: [string, string][] = [["Answer", answer]];
  if (expected !== null) lines.push(["Expected", expected]);
  if (earlier !== null) lines.push([whenText(earlier), earlier.answer]);
  if (typeof reward === "number") lines.push(["Reward", String(Number(reward.toPrecision(3)))]);
  return definitions(lines);
}

function renderPair({ pair, earlier }: ShownSample): string {
  if (pair === undefined) return "";
  const { chosen, rejected, margin, referenceMargin } = pair;
  const lines: [string, string][] = [
    ["Chosen", chosen],
    ["Rejected", rejected],
    ["Margin", marginText(margin)],
  ];
  if (earlier !== null && earlier.margin !== null) {
    lines.push([whenText(earlier), marginText(earlier.margin)]);
  } else if (referenceMargin !== null) lines.push(["Reference", marginText(referenceMargin)]);
  return definitions(lines);
}

/** `+1.2 nats: the chosen answer is 3.3 times likelier`. */
function marginText(margin: number): string {
  const size = Math.abs(margin);
  const times = Math.exp(size);
  const factor = times < 1000 ? Number(times.toPrecision(2)).toString() : times.toExponential(0);
  const sign = margin >= 0 ? "+" : "−";
  if (times < 1.05) return `${sign}${size.toFixed(2)} nats: about equally likely`;
  const which = margin >= 0 ? "chosen" : "rejected";
  return `${sign}${size.toFixed(2)} nats: ${which} ${factor} times likelier`;
}

function definitions(lines: readonly (readonly [string, string])[]): string {
  return `<dl class="answers">${
    lines.map(([name, text]) =>
      `<dt>${escapeHtml(name)}</dt><dd><div class="long">${shownText(text)}</div></dd>`
    ).join("")
  }</dl>`;
}

/** Which answers were given in place of which, by type of question. */
export function renderConfusions({ confusions }: ReportContents): string {
  if (confusions.length === 0) return "";
  return `<section aria-labelledby="confusions"><h2 id="confusions">Which answers are mixed up</h2>
<p class="quiet">Rows: the expected answer. Columns: what the model answered. The diagonal is right.</p>
<div class="facts confusions">${confusions.map(renderConfusion).join("\n")}</div></section>`;
}

/** The shade of a cell, 0 to 5, by its share of the row. */
function shade(count: number, total: number): number {
  return count === 0 ? 0 : Math.max(1, Math.ceil(5 * count / total));
}

function renderConfusion(confusion: Confusion): string {
  const { type, expected, given, counts } = confusion;
  const title = type ?? "All questions";
  const head = given.map((name) => `<th scope="col">${shownText(name)}</th>`).join("");
  const rows = expected.map((name, i) => {
    const total = counts[i].reduce((sum, count) => sum + count, 0);
    const cells = counts[i].map((count, j) =>
      `<td class="${i === j ? "hit" : "miss"} shade${shade(count, total)}">${count || "·"}</td>`
    );
    return `<tr><th scope="row">${shownText(name)}</th>${cells.join("")}</tr>`;
  });
  const mistakes = frequentMistakes(confusion);
  const note = mistakes.length === 0 ? "no mistake" : `most often: ${mistakes.join(", ")}`;
  return `<div class="card"><div class="scroll" tabindex="0" role="group" aria-label="${
    escapeHtml(`Confusion table: ${title}`)
  }"><table class="confusion"><caption>${
    escapeHtml(title)
  }</caption><thead><tr><td></td>${head}</tr></thead><tbody>${
    rows.join("\n")
  }</tbody></table></div><p class="quiet">${escapeHtml(note)}</p></div>`;
}
