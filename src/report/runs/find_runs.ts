/**
 * Finds the runs below a folder, and what their files say of them.
 *
 * @module
 */
import { parse } from "@std/yaml";
import { type MetricsRecord, numericMetrics } from "../files/metrics_record.ts";

/** A run's folder. */
export interface FoundRun {
  /** Path below the folder that was searched, with `/`; `.` for itself. */
  readonly name: string;
  readonly path: string;
  /** sft, dpo or grpo; null if the config cannot be read. */
  readonly trainingType: string | null;
  /** Measurements, in the order of their steps. */
  readonly records: readonly MetricsRecord[];
  /** Last optimizer step that was measured. */
  readonly step: number;
  /** When something was measured last, in ms since 1970. */
  readonly updatedAt: number;
  /** Whether there is a page. */
  readonly hasReport: boolean;
}

/** Folders that hold no run of their own. */
const SKIPPED = /^(?:checkpoint-\d+|final_model|runs|node_modules|\..*)$/;
/** Folders of folders of runs. */
const MOST_DEPTH = 3;

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

/**
 * The measurements of a run, in the order of their steps. A last line that is still being written is left
 * out.
 *
 * @param path the run's folder
 */
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

/** The last value of each metric. */
export function lastValues(records: readonly MetricsRecord[]): ReadonlyMap<string, number> {
  return new Map(records.flatMap(numericMetrics));
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

async function readRun(path: string, name: string): Promise<FoundRun | null> {
  const file = await Deno.stat(`${path}/metrics.jsonl`).catch(() => null);
  if (file === null || !file.isFile) return null;
  const records = await readRecords(path);
  return {
    name,
    path,
    records,
    trainingType: await trainingTypeOf(path),
    step: records.at(-1)?.step ?? 0,
    updatedAt: file.mtime?.getTime() ?? 0,
    hasReport: await exists(`${path}/report.html`),
  };
}

/**
 * The runs in a folder and up to three levels below it, the newest first.
 *
 * @param folder searched
 * @throws {Deno.errors.NotFound} if it is missing
 */
export async function findRuns(folder: string): Promise<FoundRun[]> {
  const runs: FoundRun[] = [];
  const visit = async (path: string, name: string, depth: number): Promise<void> => {
    const run = await readRun(path, name === "" ? "." : name);
    if (run !== null) runs.push(run);
    if (depth === MOST_DEPTH) return;
    for await (const entry of Deno.readDir(path)) {
      if (!entry.isDirectory || SKIPPED.test(entry.name)) continue;
      const below = name === "" ? entry.name : `${name}/${entry.name}`;
      await visit(`${path}/${entry.name}`, below, depth + 1);
    }
  };
  await visit(folder, "", 0);
  return runs.sort((a, b) => b.updatedAt - a.updatedAt || a.name.localeCompare(b.name));
}
