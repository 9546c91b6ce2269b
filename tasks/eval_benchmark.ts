/**
 * `eval --benchmark`.
 *
 * @module
 */
import { basename } from "node:path";
import { nearestName } from "../src/config/nearest.ts";
import type { Benchmark } from "../src/evaluate/benchmarks/benchmark.ts";
import { BENCHMARK_NAMES, benchmarkOf } from "../src/evaluate/benchmarks/benchmark_table.ts";
import { openBenchmark } from "../src/evaluate/benchmarks/benchmark_rows.ts";
import { modelFingerprint } from "../src/evaluate/benchmarks/model_identity.ts";
import {
  ResultsError,
  type ResultsHeader,
  type ResultsLine,
  ResultsWriter,
  type SkippedLine,
} from "../src/evaluate/benchmarks/results_file.ts";
import { runBenchmark } from "../src/evaluate/benchmarks/run_benchmark.ts";
import {
  type BenchmarkTotals,
  benchmarkTotals,
  type Total,
} from "../src/evaluate/benchmarks/totals.ts";
import { formatTable } from "../src/report/terminal/console_table.ts";
import { untilAborted } from "../src/until_aborted.ts";
import type { EvalOptions } from "./eval_options.ts";
import { openModel } from "./open_model.ts";
import { progressLine } from "./progress_line.ts";
import { UsageError } from "./usage_error.ts";

/** Whose definitions the table has. */
const REFERENCE = "lmms-eval 0.7.3";

/**
 * The benchmark that was named.
 *
 * @throws {UsageError} if there is none of that name, or an option does not go with it
 */
export function namedBenchmark(asked: EvalOptions): Benchmark | null {
  if (asked.benchmark === undefined) return null;
  const other = [
    ["--metric", asked.metrics.length > 0],
    ["--by", asked.by !== undefined],
    ["--reward", asked.rewards.length > 0],
    ["--with-history", asked.withHistory],
    ["--samples", asked.samples !== undefined],
    ["--format", asked.format !== undefined],
  ].filter(([, given]) => given).map(([name]) => name);
  if (other.length > 0) {
    throw new UsageError(
      `--benchmark defines prompts and metric itself; leave out ${other.join(", ")}`,
    );
  }
  try {
    return benchmarkOf(asked.benchmark);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const nearest = nearestName(asked.benchmark, BENCHMARK_NAMES);
    const hint = nearest === undefined ? "" : `; did you mean ${nearest}?`;
    throw new UsageError(`--benchmark: ${error.message}${hint}`);
  }
}

/** A value for people: a share as a percentage, MME's points as they are. */
function shown({ total }: Benchmark, value: number): string {
  return total === "mme" ? value.toFixed(1) : `${(100 * value).toFixed(2)} %`;
}

function totalsTable(benchmark: Benchmark, { overall, byGroup, further }: BenchmarkTotals): string {
  const row = (name: string, { questions, value, low, high }: Total) => [
    name,
    questions,
    shown(benchmark, value),
    `${shown(benchmark, low)} … ${shown(benchmark, high)}`,
  ];
  return formatTable(
    [
      { header: benchmark.name },
      { header: "questions", align: "right" },
      { header: "value", align: "right" },
      { header: "95 % interval", align: "right" },
    ],
    [
      ...[...byGroup].map(([name, total]) => row(`  ${name}`, total)),
      row(benchmark.reported, overall),
      ...Object.entries(further).map(([name, value]) => [
        `  ${name}`,
        overall.questions,
        shown(benchmark, value),
        "",
      ]),
    ],
  );
}

/** What `--json` prints. */
function totalsRecord(benchmark: Benchmark, totals: BenchmarkTotals): Record<string, unknown> {
  const { overall, byGroup, further } = totals;
  return {
    benchmark: benchmark.name,
    metric: benchmark.reported,
    examples: overall.questions,
    questions: overall.questions,
    value: overall.value,
    low: overall.low,
    high: overall.high,
    ...further,
    ...(byGroup.size === 0 ? {} : { by_group: Object.fromEntries(byGroup) }),
  };
}

/** What is not as the benchmark has it, so that the number is another one. */
function deviations(benchmark: Benchmark, asked: EvalOptions, header: ResultsHeader): string[] {
  return [
    ...(asked.limit === undefined ? [] : [`the first ${header.questions} questions alone`]),
    ...(header.split === benchmark.split ? [] : [`the split ${header.split}`]),
    ...(header.max_new_tokens === benchmark.maxNewTokens
      ? []
      : [`answers of ${header.max_new_tokens} tokens, not ${benchmark.maxNewTokens}`]),
  ];
}

/**
 * Measures a model on a benchmark, or goes on with that.
 *
 * @returns whether it came to its end
 * @throws {UsageError} if the results file is of another measurement
 */
export async function evaluateBenchmark(
  benchmark: Benchmark,
  asked: EvalOptions,
  signal: AbortSignal,
): Promise<boolean> {
  const started = performance.now();
  const rows = await untilAborted(openBenchmark(benchmark, asked), signal);
  const header: ResultsHeader = {
    benchmark: benchmark.name,
    model: asked.model,
    adapter: asked.adapter ?? null,
    weights: await untilAborted(modelFingerprint(asked.model, asked.adapter), signal),
    data: rows.data,
    fingerprint: rows.fingerprint,
    config: benchmark.config,
    split: rows.split,
    questions: rows.count,
    max_new_tokens: asked.maxNewTokens ?? benchmark.maxNewTokens,
    reference: REFERENCE,
  };
  const name = basename((asked.adapter ?? asked.model).replace(/\/+$/, ""));
  const path = asked.out ?? `${benchmark.name}-${name}.jsonl`;
  using writer = openWriter(path, header);
  const lines: ResultsLine[] = [...writer.earlier.lines];
  const skipped: SkippedLine[] = [...writer.earlier.skipped];
  const done = new Set([...lines, ...skipped].map(({ index }) => index));
  if (done.size > 0) console.error(`${path} has ${done.size} of ${rows.count} questions; going on`);
  if (done.size < rows.count) {
    using opened = await openModel(asked, signal);
    const tell = progressLine(`of ${rows.count} questions answered`, done.size);
    await runBenchmark(opened.loaded, benchmark, rows, {
      batchSize: asked.batchSize,
      maxNewTokens: header.max_new_tokens,
      done,
      signal,
      onLine(line) {
        writer.add(line);
        if ("skipped" in line) skipped.push(line);
        else lines.push(line);
        tell(lines.length + skipped.length);
      },
    });
  }
  const measured = lines.length + skipped.length;
  if (signal.aborted && measured < rows.count) {
    console.error(
      `eval: ${measured} of ${rows.count} questions are in ${path}; the same command goes on`,
    );
    return false;
  }
  for (const { index, skipped: reason } of skipped.slice(0, 10)) {
    console.error(`skipped row ${index}: ${reason}`);
  }
  if (skipped.length > 0) {
    console.error(`warning: ${skipped.length} rows were skipped and do not count in the number`);
  }
  const others = deviations(benchmark, asked, header);
  if (others.length > 0) {
    console.error(`note: this is not the benchmark's number: ${others.join("; ")}`);
  }
  const totals = benchmarkTotals(benchmark.total, lines);
  const seconds = (performance.now() - started) / 1000;
  console.error(
    `${benchmark.name} (${REFERENCE}) on ${rows.data}, ${seconds.toFixed(1)} s; answers: ${path}`,
  );
  console.log(
    asked.json
      ? JSON.stringify({
        ...totalsRecord(benchmark, totals),
        skipped: skipped.length,
        seconds,
        results: path,
      })
      : totalsTable(benchmark, totals).trimEnd(),
  );
  return true;
}

function openWriter(path: string, header: ResultsHeader): ResultsWriter {
  try {
    return new ResultsWriter(path, header);
  } catch (error) {
    if (!(error instanceof ResultsError)) throw error;
    throw new UsageError(error.message);
  }
}
