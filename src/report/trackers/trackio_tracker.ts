/**
 * Trackio: a run on a Trackio server, or in the database that `trackio show` reads on this machine.
 *
 * Source: trackio 0.43, `server.py` (`bulk_log`) and `sqlite_storage.py`.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { resolve } from "node:path";
import type { MetricsRecord } from "../files/metrics_record.ts";
import { requestJson } from "./json_request.ts";
import type { TrackedRun, Tracker } from "./tracker.ts";
import type { TrackioEntry, TrackioStore } from "./trackio_store.ts";
import { TrackioDatabase } from "./trackio_database.ts";

/** Where a run goes. */
export type TrackioPlace =
  /** A server's address (`TRACKIO_SERVER_URL`) and the token to write there. */
  | { readonly url: string; readonly writeToken: string | null }
  /** The folder of the databases (`TRACKIO_DIR`). */
  | { readonly folder: string };

/** The place that the environment names. */
export function trackioPlace(env: (name: string) => string | undefined): TrackioPlace {
  const url = env("TRACKIO_SERVER_URL")?.trim();
  if (url) {
    const address = new URL(url);
    const inUrl = address.searchParams.get("write_token");
    return {
      url: `${address.origin}${address.pathname.replace(/\/*$/, "/")}`,
      writeToken: env("TRACKIO_WRITE_TOKEN") ?? inUrl,
    };
  }
  const home = env("HOME") ?? env("USERPROFILE") ?? ".";
  const cache = env("XDG_CACHE_HOME") ?? `${home}/.cache`;
  const folder = env("TRACKIO_DIR") ?? `${env("HF_HOME") ?? `${cache}/huggingface`}/trackio`;
  return { folder };
}

/** A Trackio server. */
class TrackioServer implements TrackioStore {
  readonly #url: string;
  readonly #headers: Readonly<Record<string, string>>;

  constructor({ url, writeToken }: Extract<TrackioPlace, { url: string }>) {
    this.#url = url;
    this.#headers = writeToken === null ? {} : { "x-trackio-write-token": writeToken };
  }

  async #call(name: string, kwargs: Readonly<Record<string, unknown>>): Promise<void> {
    await requestJson({
      url: `${this.#url}api/${name}`,
      headers: this.#headers,
      body: { args: [], kwargs },
    });
  }

  async remove(run: Pick<TrackioEntry, "project" | "run" | "run_id">): Promise<void> {
    await this.#call("delete_run", { ...run });
  }

  async add(logs: readonly TrackioEntry[]): Promise<void> {
    await this.#call("bulk_log", { logs, hf_token: null });
  }
}

/** Logs a run to Trackio. */
export class TrackioTracker implements Tracker {
  readonly name = "trackio";
  readonly #place: TrackioPlace;
  #store: TrackioStore | null = null;
  #run: TrackedRun | null = null;
  #runId = "";
  #sent = 0;

  constructor(place: TrackioPlace) {
    this.#place = place;
  }

  /** A run is its folder: a resumed one is replaced by the earlier records. */
  async start(run: TrackedRun, earlier: readonly MetricsRecord[]): Promise<void> {
    this.#run = run;
    const idPath = `${run.folder}/trackio_run.json`;
    this.#runId = (run.resumed ? readRunId(idPath) : null) ?? runIdOf(run);
    Deno.writeTextFileSync(idPath, JSON.stringify({ run_id: this.#runId }) + "\n");
    this.#store = "url" in this.#place
      ? new TrackioServer(this.#place)
      : new TrackioDatabase(this.#place.folder, run.project);
    if (run.resumed) {
      await this.#store.remove({ project: run.project, run: run.name, run_id: this.#runId });
    }
    await this.send(earlier);
  }

  async send(records: readonly MetricsRecord[]): Promise<void> {
    if (records.length === 0) return;
    const { project, name, config } = this.#run!;
    await this.#store!.add(records.map(({ step, ...metrics }) => {
      const index = this.#sent++;
      return {
        project,
        run: name,
        run_id: this.#runId,
        metrics,
        step,
        log_id: `${this.#runId}-${index}`,
        config: index === 0 ? config : null,
      };
    }));
  }

  finish(): string {
    this.close();
    const { project } = this.#run!;
    if ("url" in this.#place) return `trackio: the project ${project} on ${this.#place.url}`;
    return `trackio show --project ${project} shows the run`;
  }

  close(): void {
    this.#store?.close?.();
  }
}

/** 32 hexadecimal digits that name the folder and the moment. */
function runIdOf({ folder, project }: TrackedRun): string {
  const what = `${resolve(folder)} ${project} ${Date.now()}`;
  return createHash("sha256").update(what).digest("hex").slice(0, 32);
}

function readRunId(path: string): string | null {
  try {
    const { run_id } = JSON.parse(Deno.readTextFileSync(path));
    return typeof run_id === "string" ? run_id : null;
  } catch {
    return null;
  }
}
