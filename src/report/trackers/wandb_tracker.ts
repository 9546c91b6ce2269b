/**
 * Weights & Biases: an offline run in the output folder, as `wandb.init(mode="offline")` writes one.
 * `wandb sync FOLDER` uploads it, during the run or after it.
 *
 * Why not `@wandb/sdk` (npm, 0.5.1, its only version): it has no offline mode, logs in before a run
 * may start, throws errors of its worker where no caller can catch them, and handles SIGINT itself by
 * ending the process, so that no checkpoint is saved.
 *
 * @module
 */
import type { MetricsRecord } from "../files/metrics_record.ts";
import type { TrackedEnd, TrackedRun, Tracker } from "./tracker.ts";
import {
  encodeWandbRecord,
  frameForLog,
  WANDB_FILE_HEAD,
  type WandbContent,
} from "./wandb_records.ts";

/** What the config says of W&B. */
export interface WandbOptions {
  /** The team; null: the account's default. */
  readonly entity: string | null;
  /** The clock, in milliseconds; for tests. */
  readonly now?: () => number;
}

const ID_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789";
const ID_LENGTH = 8;

function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(ID_LENGTH));
  return Array.from(bytes, (byte) => ID_LETTERS[byte % ID_LETTERS.length]).join("");
}

/** `20261201_031500`, local time. */
function stamp(ms: number): string {
  const date = new Date(ms - new Date(ms).getTimezoneOffset() * 60_000);
  return date.toISOString().slice(0, 19).replaceAll(/[-:]/g, "").replace("T", "_");
}

/** The newest offline run below a folder. */
function existingRun(folder: string): string | null {
  try {
    const names = [...Deno.readDirSync(folder)].map(({ name }) => name);
    return names.filter((name) => /^offline-run-\d{8}_\d{6}-\w+$/.test(name)).sort().at(-1) ?? null;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

/** The name of this machine, as Python's `socket.gethostname()`; `unknown` without permission. */
function hostName(): string {
  try {
    return Deno.hostname();
  } catch {
    return "unknown";
  }
}

function removeIfThere(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** Writes an offline run of W&B. */
export class WandbTracker implements Tracker {
  readonly name = "wandb";
  readonly #options: WandbOptions;
  readonly #now: () => number;
  #file: Deno.FsFile | null = null;
  #folder = "";
  #bytes = 0;
  #records = 0;
  #rows = 0;
  #startedAt = 0;
  #summary: Record<string, unknown> = {};

  constructor(options: WandbOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  /**
   * Opens the run's file; a resumed run keeps its id, and its file is written anew from the earlier
   * records.
   */
  start(run: TrackedRun, earlier: readonly MetricsRecord[]): void {
    this.#startedAt = this.#now();
    const above = `${run.folder}/wandb`;
    const existing = run.resumed ? existingRun(above) : null;
    const id = existing?.split("-").at(-1) ?? newId();
    this.#folder = `${above}/${existing ?? `offline-run-${stamp(this.#startedAt)}-${id}`}`;
    Deno.mkdirSync(`${this.#folder}/files`, { recursive: true });
    const path = `${this.#folder}/run-${id}.wandb`;
    removeIfThere(`${path}.synced`); // else `wandb sync` takes the run as uploaded
    this.#file = Deno.openSync(path, {
      write: true,
      create: true,
      truncate: true,
    });
    this.#append(WANDB_FILE_HEAD);
    this.#write({ kind: "header", producer: "nanovlm-lab" });
    this.#write({
      kind: "run",
      id,
      project: run.project,
      entity: this.#options.entity,
      name: run.name,
      host: hostName(),
      startedAt: this.#startedAt,
      config: run.config,
    });
    this.#write({ kind: "stepAxis", step: "step" });
    this.send(earlier);
  }

  #append(bytes: Uint8Array): void {
    let rest = bytes;
    while (rest.length > 0) rest = rest.subarray(this.#file!.writeSync(rest));
    this.#bytes += bytes.length;
  }

  #write(content: WandbContent): void {
    const record = encodeWandbRecord(++this.#records, content);
    this.#append(frameForLog(record, this.#bytes));
  }

  /** A row of the history for each record; `step` is a column of it. */
  send(records: readonly MetricsRecord[]): void {
    for (const record of records) {
      const now = this.#now();
      const step = this.#rows++;
      this.#write({
        kind: "history",
        step,
        items: {
          ...record,
          _step: step,
          _runtime: (now - this.#startedAt) / 1000,
          _timestamp: now / 1000,
        },
      });
      Object.assign(this.#summary, record);
    }
  }

  finish(end: TrackedEnd): string {
    this.#write({ kind: "summary", items: this.#summary });
    const seconds = (this.#now() - this.#startedAt) / 1000;
    this.#write({ kind: "exit", code: end === "failed" ? 1 : 0, seconds });
    this.close();
    return `wandb sync ${this.#folder} uploads the run to Weights & Biases`;
  }

  close(): void {
    this.#file?.close();
    this.#file = null;
  }
}
