import { summariseSkipped } from "../../skipped_summary.ts";
import { formatTable } from "./console_table.ts";
import { formatDuration } from "./duration.ts";
import type { Concern } from "../watch/concern.ts";
import type { EvaluationSample } from "../evaluation_sample.ts";
import type { ReportedAnswers } from "../files/report_file.ts";
import type {
  Headline,
  NextCommand,
  ResultTable,
  RunStatus,
  SkippedRow,
} from "../page/report_contents.ts";
import { formatSamples } from "./samples_table.ts";
import { printable } from "./terminal_text.ts";

/** How a run ended. */
export interface RunSummary {
  /** How. */
  readonly status: Exclude<RunStatus, "running">;
  /** Why, if that needs a sentence: on the page, and on the terminal unless the run failed. */
  readonly message?: string;
  /** Results, as before and after. */
  readonly tables?: readonly ResultTable[];
  /** What the run achieved, in a number or two; on the page. */
  readonly headlines?: readonly Headline[];
  /** Answers to held-out questions; on the page. */
  readonly answers?: ReportedAnswers;
  /** What was found wrong with the model after the last step. */
  readonly concerns?: readonly Concern[];
  /** Commands to go on with. */
  readonly next?: readonly NextCommand[];
}

/** What the last words of a run are made of. */
export interface ClosingWords {
  /** What ran, in a word. */
  readonly label: string;
  /** Optimizer steps done. */
  readonly step: number;
  /** How long it took. */
  readonly seconds: number;
  /** The last evaluation's samples. */
  readonly samples: readonly EvaluationSample[];
  /** The page; null if it could not be written. */
  readonly reportPath: string | null;
  /** The columns of the terminal. */
  readonly width: number;
  /** Rows that could not be used, of how many (0 if unknown). */
  readonly skipped: {
    readonly count: number;
    readonly total: number;
    readonly rows: readonly SkippedRow[];
  };
  /** How it ended. */
  readonly summary: RunSummary;
}

/**
 * What is printed when a run is over: results, sample answers, skipped rows, where the report is,
 * what to run next.
 *
 * @param words what is known
 * @returns texts to print one below the other
 */
export function closingLines(words: ClosingWords): string[] {
  const { summary, width } = words;
  const lines = (summary.tables ?? []).map(({ title, columns, rows }) =>
    `\n${printable(title)}\n` + formatTable(
      columns.map((header, i) => ({
        header,
        align: rows.some((row) => typeof row[i] === "number") ? "right" : "left",
      })),
      rows,
      width,
    )
  );
  if ((summary.status === "done" || summary.status === "doubtful") && words.samples.length > 0) {
    lines.push("\nSample answers\n" + formatSamples(words.samples, 8, width));
  }
  const { skipped } = words;
  // The error of a run that failed says why, skipped rows included.
  const failed = summary.status === "failed";
  if (!failed && skipped.count > 0) {
    const of = skipped.total > 0 ? ` of ${skipped.total}` : "";
    lines.push(
      `\nskipped ${skipped.count}${of} rows\n` +
        summariseSkipped(skipped.rows).split("\n").map(printable).join("\n"),
    );
  }
  const took = formatDuration(words.seconds);
  const status = summary.status === "doubtful" ? "finished, with doubts," : summary.status;
  lines.push(`\n${words.label}: ${status} at step ${words.step} after ${took}`);
  if (summary.message !== undefined && !failed) lines.push(summary.message);
  if (words.reportPath !== null) lines.push(`report: ${words.reportPath}`);
  for (const { label, command } of summary.next ?? []) lines.push(`${label}:\n  ${command}`);
  return lines;
}
