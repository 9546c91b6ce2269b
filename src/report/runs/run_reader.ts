/**
 * Reads what a run's files say of it, and keeps it until they change.
 *
 * @module
 */
import { parse } from "@std/yaml";
import { type MetricsRecord, numericMetrics } from "../files/metrics_record.ts";
import type { RunFolder } from "./find_runs.ts";

/** A run with its measurements. */
export interface FoundRun extends RunFolder {
  /** sft, dpo or grpo; null if the config cannot be read. */
  readonly trainingType: string | null;
  /** In the order of their steps. */
  readonly records: readonly MetricsRecord[];
  /** Last optimizer step that was measured. */
  readonly step: number;
}

/** The last value of each metric. */
export function lastValues(records: readonly MetricsRecord[]): ReadonlyMap<string, number> {
  return new Map(records.flatMap(numericMetrics));
}

/** The measurements in metrics.jsonl. A last line that is still being written is left out. */
async function readRecords(path: string): Promise<MetricsRecord[]> {
  const text = await Deno.readTextFile(`${path}/metrics.jsonl`);
  return text.split("\n").flatMap((line) => {
    try {
      const record: unknown = JSON.parse(line);
      const isRecord = typeof record === "object" && record !== null && "step" in record &&
        typeof record.step === "number";
      return isRecord ? [record as MetricsRecord] : [];
    } catch {
      return [];
    }
  });
}

async function trainingTypeOf(path: string): Promise<string | null> {
  try {
    const config = parse(await Deno.readTextFile(`${path}/config.resolved.yaml`));
    const isObject = typeof config === "object" && config !== null && "training_type" in config;
    return isObject ? String(config.training_type) : null;
  } catch {
    return null;
  }
}

/** Reads runs. It keeps what it read while the time and the size of metrics.jsonl stay the same. */
export class RunReader {
  /** By the path of the run. */
  readonly #kept = new Map<string, FoundRun>();

  /**
   * What a run's files say.
   *
   * @throws {Deno.errors.NotFound} if it was deleted
   */
  async read(folder: RunFolder): Promise<FoundRun> {
    const { path, updatedAt, metricsBytes } = folder;
    const kept = this.#kept.get(path);
    if (kept?.updatedAt === updatedAt && kept.metricsBytes === metricsBytes) {
      return { ...kept, ...folder };
    }
    const records = await readRecords(path);
    const run: FoundRun = {
      ...folder,
      records,
      trainingType: await trainingTypeOf(path),
      step: records.at(-1)?.step ?? 0,
    };
    this.#kept.set(path, run);
    return run;
  }

  /** What all these runs' files say. Other runs are forgotten. */
  async readAll(folders: readonly RunFolder[]): Promise<FoundRun[]> {
    const paths = new Set(folders.map(({ path }) => path));
    for (const path of this.#kept.keys()) if (!paths.has(path)) this.#kept.delete(path);
    const runs: FoundRun[] = [];
    for (const folder of folders) runs.push(await this.read(folder));
    return runs;
  }
}
