/**
 * The scores of one model's answers, from a file that `eval` wrote: `--benchmark`'s results, or the
 * lines of `--out`.
 *
 * @module
 */
import type { TotalForm } from "../benchmarks/benchmark.ts";
import { benchmarkOf } from "../benchmarks/benchmark_table.ts";
import {
  headerDifferences,
  readResults,
  type Results,
  ResultsError,
  wholeLines,
} from "../benchmarks/results_file.ts";
import type { ScoredQuestion } from "../benchmarks/totals.ts";

/** A question as the comparison shows it. */
export interface ComparedQuestion {
  readonly index: number;
  readonly question: string;
  readonly answers: readonly string[];
  readonly answer: string;
}

/** The scores of one metric, a question each, in the order of the questions. */
export interface MeasuredMetric {
  readonly form: TotalForm;
  readonly scores: readonly ScoredQuestion[];
}

/** What one file says. */
export interface Measurement {
  readonly path: string;
  /** Null: the lines of `--out`, which do not say it. */
  readonly results: Results | null;
  readonly questions: readonly ComparedQuestion[];
  readonly metrics: ReadonlyMap<string, MeasuredMetric>;
}

function ofBenchmark(results: Results): Measurement {
  const { path, header } = results;
  const benchmark = benchmarkOf(header.benchmark);
  const lines = [...results.lines].sort((a, b) => a.index - b.index);
  const missing = header.questions - lines.length - results.skipped.length;
  if (missing > 0) {
    throw new ResultsError(
      `Cannot compare ${path}: ${missing} of its ${header.questions} questions were not asked yet; ` +
        "run the same eval --benchmark command again, which goes on",
    );
  }
  return {
    path,
    results,
    questions: lines,
    metrics: new Map([[benchmark.reported, { form: benchmark.total, scores: lines }]]),
  };
}

type Line = Record<string, unknown>;

const isRecord = (value: unknown): value is Line =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Scores of a line of `--out` by metric. */
function scoresOf(line: Line): Record<string, unknown> {
  if ("chosen" in line) return { chosen_over_rejected: line.correct };
  if ("rewards" in line && isRecord(line.rewards)) {
    const parts = Object.entries(line.rewards).map(([name, value]) => [`rewards/${name}`, value]);
    return { reward: line.reward, ...Object.fromEntries(parts) };
  }
  return { exact_match: line.correct, ...(isRecord(line.scores) ? line.scores : {}) };
}

function ofLines(path: string, lines: readonly Line[]): Measurement {
  const questions = lines.map((line, index): ComparedQuestion => ({
    index,
    question: String(line.question),
    answers: "chosen" in line
      ? [String(line.chosen), String(line.rejected)]
      : "expected" in line
      ? [String(line.expected)]
      : [],
    answer: String(line.answer ?? ""),
  }));
  const names = Object.keys(scoresOf(lines[0]));
  const metrics = new Map(names.map((name) => {
    const scores = lines.map((line, i): ScoredQuestion => ({
      score: scoreOf(path, i, name, scoresOf(line)[name]),
      group: typeof line.answer_type === "string" ? line.answer_type : null,
      subgroup: null,
      answer: questions[i].answer,
      answers: questions[i].answers,
    }));
    return [name, { form: "mean" as const, scores }];
  }));
  return { path, results: null, questions, metrics };
}

function scoreOf(path: string, line: number, name: string, value: unknown): number {
  if (typeof value === "boolean") return value ? 1 : 0;
  if (typeof value === "number") return value;
  // A reward function that did not apply gives nothing.
  if (value === null) return 0;
  throw new ResultsError(
    `Cannot compare ${path}: line ${line + 1} has no ${name}; want a file that eval --out or ` +
      "eval --benchmark wrote",
  );
}

/**
 * Reads a file of `eval --benchmark` or of `eval --out`.
 *
 * @throws {ResultsError} if it is neither, is empty, or its benchmark is not complete
 */
export function readMeasurement(path: string): Measurement {
  const bytes = wholeLines(Deno.readFileSync(path));
  const texts = new TextDecoder().decode(bytes).split("\n").filter((line) => line !== "");
  if (texts.length === 0) throw new ResultsError(`Cannot compare ${path}: it is empty`);
  const lines = texts.map((text, i) => {
    try {
      const line: unknown = JSON.parse(text);
      if (isRecord(line)) return line;
    } catch {
      // said below
    }
    throw new ResultsError(`Cannot read ${path}: line ${i + 1} is not a JSON object`);
  });
  if ("benchmark" in lines[0]) return ofBenchmark(readResults(path));
  return ofLines(path, lines);
}

/**
 * Checks that two files measured the same questions.
 *
 * @throws {ResultsError} with what differs
 */
export function checkComparable(a: Measurement, b: Measurement): void {
  const refuse = (reason: string): never => {
    throw new ResultsError(`Cannot compare ${a.path} with ${b.path}: ${reason}`);
  };
  if ((a.results === null) !== (b.results === null)) {
    refuse("one holds a benchmark's results and the other the answers of eval --out");
  }
  if (a.results !== null && b.results !== null) {
    const differences = headerDifferences(a.results.header, b.results.header, ["weights"]);
    if (differences.length > 0) refuse(`they measured different things: ${differences.join("; ")}`);
  }
  if (a.questions.length !== b.questions.length) {
    refuse(`they have ${a.questions.length} and ${b.questions.length} questions`);
  }
  const at = a.questions.findIndex((one, i) => {
    const other = b.questions[i];
    return one.index !== other.index || one.question !== other.question ||
      JSON.stringify(one.answers) !== JSON.stringify(other.answers);
  });
  if (at >= 0) refuse(`question ${at + 1} is another one`);
  const names = (measurement: Measurement) => [...measurement.metrics.keys()].join(", ");
  if (names(a) !== names(b)) refuse(`their metrics are ${names(a)} and ${names(b)}`);
}
