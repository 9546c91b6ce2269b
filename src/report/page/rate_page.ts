/**
 * The page of a learning-rate range test: the loss over the rate, and a table. It is one file
 * without scripts.
 *
 * @module
 */
import { escapeHtml } from "./escape.ts";
import { PAGE_STYLE } from "./page_style.ts";

/** A step of the test. */
export interface RatePagePoint {
  readonly rate: number;
  readonly loss: number;
  readonly smoothed: number;
}

/** What the page shows. */
export interface RatePage {
  readonly title: string;
  readonly points: readonly RatePagePoint[];
  /** Rates that are marked in the curve. */
  readonly marks: readonly { readonly name: string; readonly rate: number }[];
  readonly sentences: readonly string[];
  /** The rates of the config, and those that are suggested. */
  readonly keys: readonly {
    readonly key: string;
    readonly now: number;
    readonly suggested: number | null;
  }[];
}

const WIDTH = 760, HEIGHT = 340;
const MARGIN = { left: 60, right: 20, top: 30, bottom: 40 };

/** The curve as SVG: losses as dots, the smoothed loss as a line, marks as vertical lines. */
function curve({ points, marks }: RatePage): string {
  if (points.length < 2) return "";
  const logs = points.map(({ rate }) => Math.log10(rate));
  const [from, to] = [logs[0], logs[logs.length - 1]];
  // What diverges would press the rest of the curve flat.
  const start = Math.max(...points.slice(0, 5).map(({ loss }) => loss));
  const bottom = Math.min(...points.map(({ smoothed }) => smoothed));
  const top = start + (start - bottom) * 0.5 || start + 1;
  const low = bottom - (top - bottom) * 0.1;
  const x = (log: number) =>
    MARGIN.left + (log - from) / (to - from) * (WIDTH - MARGIN.left - MARGIN.right);
  const y = (loss: number) =>
    HEIGHT - MARGIN.bottom -
    (Math.min(Math.max(loss, low), top) - low) / (top - low) *
      (HEIGHT - MARGIN.top - MARGIN.bottom);
  const place = (value: number) => value.toFixed(1);
  const axis = (x1: number, y1: number, x2: number, y2: number) =>
    `<line x1="${place(x1)}" y1="${place(y1)}" x2="${place(x2)}" y2="${place(y2)}"/>`;
  const decades = Array.from(
    { length: Math.floor(to) - Math.ceil(from) + 1 },
    (_, i) => Math.ceil(from) + i,
  );
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => low + share * (top - low));
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="loss over learning rate">
<g stroke="var(--grid)">${
    decades.map((log) => axis(x(log), MARGIN.top, x(log), HEIGHT - MARGIN.bottom)).join("")
  }${ticks.map((loss) => axis(MARGIN.left, y(loss), WIDTH - MARGIN.right, y(loss))).join("")}</g>
<g fill="var(--quiet)" font-size="12">${
    decades.map((log) =>
      `<text x="${place(x(log))}" y="${HEIGHT - 20}" text-anchor="middle">1e${log}</text>`
    ).join("")
  }${
    ticks.map((loss) =>
      `<text x="${MARGIN.left - 6}" y="${place(y(loss) + 4)}" text-anchor="end">${
        escapeHtml(loss.toPrecision(3))
      }</text>`
    ).join("")
  }<text x="${WIDTH / 2}" y="${HEIGHT - 4}" text-anchor="middle">learning rate</text></g>
<g fill="var(--s0)" opacity="0.35">${
    points.map(({ loss }, i) => `<circle cx="${place(x(logs[i]))}" cy="${place(y(loss))}" r="2"/>`)
      .join("")
  }</g>
<polyline fill="none" stroke="var(--s0)" stroke-width="2" points="${
    points.map(({ smoothed }, i) => `${place(x(logs[i]))},${place(y(smoothed))}`).join(" ")
  }"/>
${
    marks.map(({ name, rate }, i) => {
      const at = x(Math.log10(rate));
      return `<g stroke="var(--s${i + 1})">${
        axis(at, MARGIN.top, at, HEIGHT - MARGIN.bottom)
      }</g><text x="${place(at)}" y="${12 + 10 * i}" font-size="11" text-anchor="middle" ` +
        `fill="var(--s${i + 1})">${escapeHtml(name)}</text>`;
    }).join("\n")
  }
</svg>`;
}

function table(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = (tag: string, row: readonly string[]) =>
    `<tr>${row.map((cell) => `<${tag}>${escapeHtml(cell)}</${tag}>`).join("")}</tr>`;
  return `<table><thead>${cells("th", columns)}</thead><tbody>${
    rows.map((row) => cells("td", row)).join("\n")
  }</tbody></table>`;
}

/** The page as HTML. */
export function renderRatePage(page: RatePage): string {
  const { title, points, sentences, keys } = page;
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escapeHtml(title)}</title>
<style>${PAGE_STYLE}
svg { width: 100%; max-width: 760px; height: auto; background: var(--card); }
td, th { padding: 2px 14px 2px 0; text-align: right; }
td:first-child, th:first-child { text-align: left; }
</style>
</head>
<body>
<header class="top"><h1>${escapeHtml(title)}</h1></header>
<main>
${sentences.map((sentence) => `<p>${escapeHtml(sentence)}</p>`).join("\n")}
${curve(page)}
<h2>Rates</h2>
${
    table(
      ["key", "in the config", "suggested"],
      keys.map(({ key, now, suggested }) => [key, String(now), String(suggested ?? "–")]),
    )
  }
<h2>Steps</h2>
${
    table(
      ["rate", "loss", "smoothed"],
      points.map(({ rate, loss, smoothed }) => [
        rate.toExponential(2),
        loss.toFixed(4),
        smoothed.toFixed(4),
      ]),
    )
  }
</main>
</body>
</html>
`;
}
