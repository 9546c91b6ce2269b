/**
 * What report.html shows.
 *
 * @module
 */
import type { EvaluationSample } from "../evaluation_sample.ts";
import type { CompletionRow } from "../files/completions_writer.ts";
import type { MetricsRecord } from "../files/metrics_record.ts";
import type { Confusion } from "./confusion.ts";

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

/** An earlier answer to the same question. */
export interface EarlierAnswer {
  /** The optimizer step at which it was given; 0 is before training. */
  readonly step: number;
  /** What was answered. */
  readonly answer: string;
  /** Whether that was right; null if unknown. */
  readonly correct: boolean | null;
  /** The margin of a pair then; null if it is none. */
  readonly margin: number | null;
}

/** A sample of an evaluation as the page shows it. */
export interface ShownSample extends Omit<EvaluationSample, "pictures"> {
  /** Data URLs of small PNGs. */
  readonly pictures: readonly string[];
  /** The first answer to the same question in this run; null if this is the first one. */
  readonly earlier: EarlierAnswer | null;
}

/** A number that says how good the model is, before and after. */
export interface Headline {
  /** What it is, in plain words. */
  readonly name: string;
  /** The metric that it stands for, as in metrics.jsonl; absent if it is none. */
  readonly key?: string;
  /** As it is shown, with its unit. */
  readonly value: string;
  /** The same before training; null if it was not measured. */
  readonly before: string | null;
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
  /** The training method in a word, as `sft`. */
  label: string;
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
  /** Held-out metrics before the first step; null if they were not measured. */
  before: Readonly<Record<string, number>> | null;
  /** What the run achieved. */
  headlines: readonly Headline[];
  /** The last evaluation's samples, wrong ones first. */
  samples: readonly ShownSample[];
  /** The step of that evaluation. */
  samplesStep: number;
  /** How many questions of how many were right, if more were asked than are shown. */
  judged: { readonly right: number; readonly total: number } | null;
  /** Which answers are mixed up. */
  confusions: readonly Confusion[];
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
