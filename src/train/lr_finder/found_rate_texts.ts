/**
 * A range test for the user: a table on the terminal, and a page with its curve.
 *
 * @module
 */
import { renderRatePage } from "../../report/page/rate_page.ts";
import { formatTable } from "../../report/terminal/console_table.ts";
import type { FoundRate } from "./find_learning_rate.ts";

/** Rows of the table on the terminal. */
const ROWS = 20;

/** A rate as people write it: `3.2e-4`. */
function rateText(rate: number): string {
  return rate.toExponential(1);
}

/** What the test says, in sentences. */
export function conclusion({ points, range, diverged, suggestion, keys }: FoundRate): string[] {
  const { rate, steepest, lowestLossAt } = suggestion;
  const ended = diverged
    ? `the loss diverged after ${points.length} of ${range.steps} steps, at the rate ` +
      rateText(points.at(-1)?.rate ?? range.lowest)
    : `the loss did not diverge up to the rate ${rateText(range.highest)}`;
  if (rate === null || steepest === null || lowestLossAt === null) {
    return [
      ended,
      "no suggestion: the loss did not fall by more than it jumps from step to step; give more " +
      "steps (--find-lr 300), or a larger batch (training.gradient_accumulation_steps)",
    ];
  }
  const settings = keys.map(({ key, suggested }) => `--set ${key}=${suggested}`);
  return [
    ended,
    `the loss falls the most at ${rateText(steepest)} and is lowest at ${rateText(lowestLossAt)}`,
    `suggestion, the smaller of the first and a tenth of the second: ${settings.join(" ")}`,
  ];
}

/** Table and sentences for the terminal. */
export function foundRateLines(found: FoundRate): string[] {
  const { points } = found;
  const every = Math.max(1, Math.ceil(points.length / ROWS));
  const rows = points.filter((_, i) => i % every === 0 || i === points.length - 1)
    .map(({ rate, loss, smoothed }) => [rateText(rate), loss.toFixed(4), smoothed.toFixed(4)]);
  const header = (header: string) => ({ header, align: "right" as const });
  return [
    formatTable([header("rate"), header("loss"), header("smoothed")], rows).trimEnd(),
    ...conclusion(found),
  ];
}

/**
 * The page.
 *
 * @param title of the run
 */
export function foundRatePage(title: string, found: FoundRate): string {
  const { points, suggestion, keys } = found;
  return renderRatePage({
    title,
    points,
    marks: [
      ["suggested", suggestion.rate],
      ["steepest", suggestion.steepest],
      ["lowest loss", suggestion.lowestLossAt],
    ].flatMap(([name, rate]) => typeof rate === "number" ? [{ name: String(name), rate }] : []),
    sentences: conclusion(found),
    keys,
  });
}
