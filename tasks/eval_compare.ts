/**
 * `eval compare`.
 *
 * @module
 */
import { basename } from "node:path";
import { ResultsError } from "../src/evaluate/benchmarks/results_file.ts";
import { benchmarkTotals, type Total } from "../src/evaluate/benchmarks/totals.ts";
import {
  checkComparable,
  type Measurement,
  readMeasurement,
} from "../src/evaluate/compare/measurement.ts";
import {
  type PairedDifference,
  pairedDifference,
} from "../src/evaluate/compare/paired_difference.ts";
import { formatTable } from "../src/report/terminal/console_table.ts";
import { type OptionSpec, parseOptions } from "./arguments.ts";
import { checkNamedPaths, type Named } from "./named_paths.ts";
import { UsageError } from "./usage_error.ts";

/** What `eval compare` takes beside files. */
export const compareOptions: readonly OptionSpec[] = [
  {
    name: "changed",
    kind: "text",
    value: "F.jsonl",
    summary: "write every question whose score changed, with both answers",
  },
  {
    name: "json",
    kind: "flag",
    summary: "print one JSON object on stdout, and nothing else there",
  },
];
/** Changed questions that are printed, gained and lost. */
const SHOWN = 5;
/** More files than anybody compares at once. */
const MOST_FILES = 50;

/** A file's value of a metric, and its difference from the first file's. */
interface Compared {
  readonly metric: string;
  readonly measurement: Measurement;
  readonly total: Total;
  /** Null for the first file. */
  readonly difference: PairedDifference | null;
}

function compare(measurements: readonly Measurement[]): Compared[] {
  const [first, ...others] = measurements;
  for (const other of others) checkComparable(first, other);
  return [...first.metrics].flatMap(([metric, baseline]) =>
    measurements.map((measurement, i) => {
      const measured = measurement.metrics.get(metric)!;
      return {
        metric,
        measurement,
        total: benchmarkTotals(measured.form, measured.scores).overall,
        difference: i === 0 ? null : pairedDifference(baseline, measured),
      };
    })
  );
}

/** A question whose score changed from the first file to another. */
interface Changed {
  readonly metric: string;
  readonly file: string;
  readonly index: number;
  readonly question: string;
  readonly answers: readonly string[];
  readonly before: { readonly answer: string; readonly score: number };
  readonly after: { readonly answer: string; readonly score: number };
}

function changedQuestions(measurements: readonly Measurement[]): Changed[] {
  const [first, ...others] = measurements;
  return [...first.metrics].flatMap(([metric, { scores }]) =>
    others.flatMap((other) => {
      const otherScores = other.metrics.get(metric)!.scores;
      return first.questions.flatMap(({ index, question, answers, answer }, i) => {
        const [before, after] = [scores[i].score, otherScores[i].score];
        if (before === after) return [];
        return [{
          metric,
          file: other.path,
          index,
          question,
          answers,
          before: { answer, score: before },
          after: { answer: other.questions[i].answer, score: after },
        }];
      });
    })
  );
}

/** Shares as percentages; points and rewards beyond 1 as they are. */
function shownAs({ metrics }: Measurement, metric: string): (value: number) => string {
  const { form, scores } = metrics.get(metric)!;
  const isShare = form !== "mme" && scores.every(({ score }) => score >= 0 && score <= 1);
  return (value) => isShare ? `${(100 * value).toFixed(2)} %` : value.toFixed(3);
}

function table(compared: readonly Compared[]): string {
  const rows = compared.map(({ metric, measurement, total, difference }) => {
    const show = shownAs(measurement, metric);
    const signed = (value: number) => `${value > 0 ? "+" : ""}${show(value)}`;
    return [
      metric,
      nameOf(measurement),
      show(total.value),
      `${show(total.low)} … ${show(total.high)}`,
      ...(difference === null ? ["", "", "", ""] : [
        signed(difference.difference),
        `${signed(difference.low)} … ${signed(difference.high)}`,
        `+${difference.gained} −${difference.lost}`,
        difference.pValue === null ? "" : difference.pValue.toPrecision(2),
      ]),
    ];
  });
  return formatTable(
    [
      { header: "metric" },
      { header: "file" },
      { header: "value", align: "right" },
      { header: "95 % interval", align: "right" },
      { header: "difference", align: "right" },
      { header: "95 % interval", align: "right" },
      { header: "changed", align: "right" },
      { header: "p", align: "right" },
    ],
    rows,
    160,
  );
}

/** What a file is called in the table: its name and the model. */
function nameOf({ path, results }: Measurement): string {
  const name = basename(path);
  if (results === null) return name;
  const { model, adapter } = results.header;
  return `${name} (${basename(adapter ?? model)})`;
}

function examplesOf(changed: readonly Changed[]): string[] {
  const line = ({ index, question, answers, before, after }: Changed) =>
    `  row ${index}: ${JSON.stringify(question.split("\n")[0].slice(0, 60))} want ${
      JSON.stringify(answers[0] ?? "")
    }: ${JSON.stringify(before.answer.slice(0, 40))} → ${
      JSON.stringify(after.answer.slice(0, 40))
    }`;
  const gained = changed.filter(({ before, after }) => after.score > before.score);
  const lost = changed.filter(({ before, after }) => after.score < before.score);
  return [
    ...(gained.length > 0 ? ["gained:", ...gained.slice(0, SHOWN).map(line)] : []),
    ...(lost.length > 0 ? ["lost:", ...lost.slice(0, SHOWN).map(line)] : []),
  ];
}

/**
 * Runs `eval compare`.
 *
 * @param args what follows `compare`
 * @returns the exit code
 * @throws {UsageError} if a file is missing, or two files did not measure the same questions
 */
export async function compareResults(args: readonly string[]): Promise<number> {
  const names = ["FILE", "FILE", ...new Array<string>(MOST_FILES - 2).fill("[FILE]")];
  const parsed = parseOptions(args, compareOptions, names);
  const paths = parsed.positionals;
  await checkNamedPaths(paths.map((path): Named => ["compare", "file", path]));
  let measurements: Measurement[], compared: Compared[];
  try {
    measurements = paths.map(readMeasurement);
    compared = compare(measurements);
  } catch (error) {
    if (!(error instanceof ResultsError) && !(error instanceof RangeError)) throw error;
    throw new UsageError(error.message);
  }
  const changed = changedQuestions(measurements);
  const out = parsed.text("changed");
  if (out !== undefined) {
    Deno.writeTextFileSync(out, changed.map((one) => JSON.stringify(one) + "\n").join(""));
  }
  if (parsed.flag("json")) {
    console.log(JSON.stringify({
      questions: measurements[0].questions.length,
      results: compared.map(({ metric, measurement, total, difference }) => ({
        metric,
        file: measurement.path,
        ...total,
        ...(difference === null ? {} : difference),
      })),
      changed: changed.length,
    }));
    return 0;
  }
  console.log(table(compared).trimEnd());
  for (const line of examplesOf(changed)) console.log(line);
  return 0;
}
