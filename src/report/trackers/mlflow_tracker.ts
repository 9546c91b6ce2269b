/**
 * MLflow: a run of an experiment on a tracking server.
 *
 * Source: MLflow's REST API 2.0 (https://mlflow.org/docs/latest/rest-api.html): experiments, runs,
 * `runs/log-batch`.
 *
 * @module
 */
import { type MetricsRecord, numericMetrics } from "../files/metrics_record.ts";
import { requestJson, TrackerHttpError } from "./json_request.ts";
import type { TrackedEnd, TrackedRun, Tracker } from "./tracker.ts";

/** Where the server is, and who asks. */
export interface MlflowServer {
  /** `MLFLOW_TRACKING_URI`. */
  readonly url: string;
  /** The value of the header `authorization`; null: none. */
  readonly authorization: string | null;
}

/** The most metrics and parameters of a request, and the longest value of a parameter. */
const MAX_METRICS = 1000, MAX_PARAMS = 100, MAX_VALUE = 6000;

/**
 * The server that the environment names.
 *
 * @returns null if there is none that speaks HTTP
 */
export function mlflowServer(env: (name: string) => string | undefined): MlflowServer | null {
  const url = env("MLFLOW_TRACKING_URI")?.trim() ?? "";
  if (!/^https?:\/\//.test(url)) return null;
  const token = env("MLFLOW_TRACKING_TOKEN");
  const user = env("MLFLOW_TRACKING_USERNAME"), password = env("MLFLOW_TRACKING_PASSWORD");
  const basic = user === undefined ? null : `Basic ${btoa(`${user}:${password ?? ""}`)}`;
  return { url: url.replace(/\/+$/, ""), authorization: token ? `Bearer ${token}` : basic };
}

interface Param {
  readonly key: string;
  readonly value: string;
}

/** Values of a config by their key paths. */
function* paramsOf(value: unknown, path: string): Generator<Param> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    for (const [key, inner] of Object.entries(value)) {
      yield* paramsOf(inner, path === "" ? key : `${path}.${key}`);
    }
    return;
  }
  const text = typeof value === "string" ? value : JSON.stringify(value) ?? "null";
  yield { key: path, value: text.slice(0, MAX_VALUE) };
}

function* chunks<T>(items: readonly T[], size: number): Generator<T[]> {
  for (let i = 0; i < items.length; i += size) yield items.slice(i, i + size);
}

const STATUS = { done: "FINISHED", interrupted: "KILLED", failed: "FAILED" } as const;

/** Logs a run to MLflow. */
export class MlflowTracker implements Tracker {
  readonly name = "mlflow";
  readonly #server: MlflowServer | null;
  #experimentId = "";
  #runId = "";

  /** @param server null: `MLFLOW_TRACKING_URI` names none, which the start reports */
  constructor(server: MlflowServer | null) {
    this.#server = server;
  }

  async #call(
    path: string,
    body: unknown,
    method: "GET" | "POST" = "POST",
  ): Promise<Record<string, unknown>> {
    const { url, authorization } = this.#server!;
    const answer = await requestJson({
      url: `${url}/api/2.0/mlflow/${path}`,
      method,
      headers: authorization === null ? {} : { authorization },
      body,
    });
    return answer as Record<string, unknown>;
  }

  async #experiment(name: string): Promise<string> {
    try {
      const query = new URLSearchParams({ experiment_name: name });
      const found = await this.#call(`experiments/get-by-name?${query}`, undefined, "GET");
      return (found.experiment as { experiment_id: string }).experiment_id;
    } catch (error) {
      if (!(error instanceof TrackerHttpError) || error.status !== 404) throw error;
      return (await this.#call("experiments/create", { name })).experiment_id as string;
    }
  }

  /**
   * Makes a run. MLflow cannot take metrics back: a resumed run becomes a new one that holds the
   * earlier records too, and the run that it continues ends as killed.
   */
  async start(run: TrackedRun, earlier: readonly MetricsRecord[]): Promise<void> {
    if (this.#server === null) {
      throw new Error(
        "MLFLOW_TRACKING_URI names no server; set it to an address such as http://127.0.0.1:5000",
      );
    }
    this.#experimentId = await this.#experiment(run.project);
    const path = `${run.folder}/mlflow_run.json`;
    const before = run.resumed ? readRunId(path) : null;
    const tags = [
      { key: "mlflow.source.name", value: "nanovlm" },
      ...(before === null ? [] : [{ key: "resumed_from", value: before }]),
    ];
    const created = await this.#call("runs/create", {
      experiment_id: this.#experimentId,
      run_name: run.name,
      start_time: Date.now(),
      tags,
    });
    this.#runId = (created.run as { info: { run_id: string } }).info.run_id;
    Deno.writeTextFileSync(path, JSON.stringify({ run_id: this.#runId }) + "\n");
    if (before !== null) await this.#end(before, "interrupted");
    for (const params of chunks([...paramsOf(run.config, "")], MAX_PARAMS)) {
      await this.#call("runs/log-batch", { run_id: this.#runId, params });
    }
    await this.send(earlier);
  }

  async send(records: readonly MetricsRecord[]): Promise<void> {
    const timestamp = Date.now();
    const metrics = records.flatMap((record) =>
      numericMetrics(record).map(([key, value]) => ({ key, value, timestamp, step: record.step }))
    );
    for (const part of chunks(metrics, MAX_METRICS)) {
      await this.#call("runs/log-batch", { run_id: this.#runId, metrics: part });
    }
  }

  async #end(run_id: string, end: TrackedEnd): Promise<void> {
    await this.#call("runs/update", { run_id, status: STATUS[end], end_time: Date.now() });
  }

  async finish(end: TrackedEnd): Promise<string> {
    await this.#end(this.#runId, end);
    return `mlflow: ${this.#server!.url}/#/experiments/${this.#experimentId}/runs/${this.#runId}`;
  }
}

function readRunId(path: string): string | null {
  try {
    const { run_id } = JSON.parse(Deno.readTextFileSync(path));
    return typeof run_id === "string" ? run_id : null;
  } catch {
    return null;
  }
}
