/**
 * The rows of a benchmark, from the Hub or from a copy on this machine.
 *
 * @module
 */
import { DataError } from "../../data/data_error.ts";
import { fingerprintFiles } from "../../data/splits/fingerprint.ts";
import { hubDataFiles } from "../../data/sources/hub_files.ts";
import { localDataFiles, openSplit } from "../../data/sources/open_source.ts";
import type { RowSource } from "../../data/sources/row_source.ts";
import type { Benchmark } from "./benchmark.ts";

/** The rows of a benchmark. */
export interface BenchmarkRows {
  readonly source: RowSource;
  /** Rows to ask. */
  readonly count: number;
  /** What was read: a Hub id or a path. */
  readonly data: string;
  readonly split: string;
  readonly fingerprint: string;
}

/** Where the rows are, and how many are asked. */
export interface BenchmarkRowsOptions {
  /** A file, folder or another Hub id; default: the benchmark's own id. */
  readonly data?: string;
  /** Default: the benchmark's own split. */
  readonly split?: string;
  /** The first rows alone. */
  readonly limit?: number;
}

/** Columns that prompts, scores and totals need. */
function neededColumns({ columns, total }: Benchmark): string[] {
  const { question, answer, options, hint, group, subgroup, further = [] } = columns;
  const grouping = total === "mme" || total === "mean_of_subgroups" ? [group, subgroup] : [];
  return [question, answer, options, hint, ...grouping, ...further]
    .filter((column) => column !== undefined);
}

/**
 * Opens the rows of a benchmark.
 *
 * @throws {HubError} if the Hub does not have them, or there is no network and no cache
 * @throws {DataError} if the copy lacks a split or a column
 */
export async function openBenchmark(
  benchmark: Benchmark,
  { data = benchmark.hubId, split = benchmark.split, limit = Infinity }: BenchmarkRowsOptions = {},
): Promise<BenchmarkRows> {
  const { name, config, columns } = benchmark;
  const isLocal = data !== benchmark.hubId &&
    await Deno.stat(data).then(() => true, () => false);
  const configs = config === null ? [] : [config];
  const files = isLocal
    ? await localDataFiles(data, { configs, orWhole: true })
    : await hubDataFiles(data, { configs });
  const { source, paths } = await openSplit(files, split);
  const missing = neededColumns(benchmark).filter((column) => !source.columns.includes(column));
  if (!columns.pictures.some((column) => source.columns.includes(column))) {
    missing.push(columns.pictures.join(" or "));
  }
  if (missing.length > 0) {
    throw new DataError(
      `Cannot measure ${name} on ${data}: it has no column ${missing.join(", ")}; its columns are ${
        source.columns.join(", ")
      }; want those of ${benchmark.hubId}${config === null ? "" : `, configuration ${config}`}`,
    );
  }
  const count = Math.min(limit, await source.countRows());
  return { source, count, data, split, fingerprint: await fingerprintFiles(paths, { split }) };
}
