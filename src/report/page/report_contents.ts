/**
 * What report.html shows.
 *
 * @module
 */
import type { CompletionRow } from "../files/completions_writer.ts";
import type { MetricsRecord } from "../files/metrics_record.ts";

/** How a run stands. */
export type RunStatus =
  | "running"
  | "done"
  /** All steps are done, and something is wrong: the warnings say what. */
  | "doubtful"
  | "interrupted"
  | "failed";

/** A heading and its facts, as `Model`: parameters 1.2 M, vision 4 blocks of 64. */
export interface FactGroup {
  /** The heading. */
  readonly title: string;
  /** Name and value. */
  readonly facts: readonly (readonly [string, string | number])[];
}

/** A command to go on with. */
export interface NextCommand {
  /** What it does, in a few words. */
  readonly label: string;
  /** The command line. */
  readonly command: string;
}

/** A small table of results, as before and after. */
export interface ResultTable {
  /** Its caption. */
  readonly title: string;
  /** The headings. */
  readonly columns: readonly string[];
  /** A cell for each heading. */
  readonly rows: readonly (readonly (string | number | null)[])[];
}

/** A row of the data that could not be used. */
export interface SkippedRow {
  /** File and row. */
  readonly place: string;
  /** Why. */
  readonly reason: string;
}

/** A sample of an evaluation as the page shows it. */
export interface ShownSample {
  /** Data URLs of small PNGs. */
  readonly pictures: readonly string[];
  /** What was asked. */
  readonly question: string;
  /** What should have been answered. */
  readonly expected: string | null;
  /** What was answered. */
  readonly answer: string;
  /** Whether that is right; null if unknown. */
  readonly correct: boolean | null;
  /** The first answer to the same question in this run, if it was another one. */
  readonly earlier: { readonly step: number; readonly answer: string } | null;
}

/** A completion as the page shows it. */
export interface ShownCompletion extends CompletionRow {
  /** Data URLs of small PNGs. */
  readonly pictures: readonly string[];
}

/** Everything on the page. */
export interface ReportContents {
  /** What ran, as `SFT of nanoVLM`. */
  title: string;
  /** How it stands. */
  status: RunStatus;
  /** Why it ended, if that needs a sentence. */
  message: string | null;
  /** When it began, in ms since 1970. */
  startedAt: number;
  /** The step that it began, or went on, from. */
  startedAtStep: number;
  /** When this was written, in ms since 1970. */
  updatedAt: number;
  /** Optimizer steps done. */
  step: number;
  /** The last step. */
  totalSteps: number;
  /** Time left while it runs. */
  secondsLeft: number | null;
  /** The most memory that the process held; null before the first step. */
  peakMemoryBytes: number | null;
  /** What ran. */
  facts: readonly FactGroup[];
  /** The resolved configuration's text. */
  configYaml: string;
  /** All measurements. */
  records: MetricsRecord[];
  /** The last evaluation's samples. */
  samples: readonly ShownSample[];
  /** The step of that evaluation. */
  samplesStep: number;
  /** The last completions shown. */
  completions: readonly ShownCompletion[];
  /** Results in tables. */
  tables: readonly ResultTable[];
  /** Rows that could not be used. */
  skipped: { count: number; total: number; rows: readonly SkippedRow[] };
  /** Warnings, with the step at which each first came and how often. */
  warnings: { step: number; text: string; count: number }[];
  /** What reward modules printed and were refused. */
  moduleLines: string[];
  /** What to run next. */
  next: readonly NextCommand[];
}
