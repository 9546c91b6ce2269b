import { assertEquals, assertStringIncludes } from "@std/assert";
import { numericMetrics } from "../../../src/report/files/metrics_record.ts";
import type { MetricsRecord } from "../../../src/report/files/metrics_record.ts";
import { mlflowServer, MlflowTracker } from "../../../src/report/trackers/mlflow_tracker.ts";
import { inTemporaryFolder } from "../temporary_folder.ts";
import {
  askPython,
  freePort,
  pythonWith,
  recordsUpTo,
  reportRun,
  skipReason,
  untilServed,
} from "./tracker_python.ts";

const python = await pythonWith("mlflow");

const READ = `
import json, sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
experiment = client.get_experiment_by_name("shapes")
runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])
print(json.dumps([{
  "name": run.info.run_name, "status": run.info.status, "params": run.data.params, "tags": run.data.tags,
  "id": run.info.run_id,
  "metrics": {key: [[m.step, m.value] for m in client.get_metric_history(run.info.run_id, key)]
              for key in run.data.metrics},
} for run in runs]))
`;

interface ReadRun {
  readonly id: string;
  readonly name: string;
  readonly status: string;
  readonly params: Record<string, string>;
  readonly tags: Record<string, string>;
  readonly metrics: Record<string, [number, number][]>;
}

/** Steps and values by metric, of the numbers in metrics.jsonl. */
function historyOf(lines: readonly MetricsRecord[]): Record<string, [number, number][]> {
  const history: Record<string, [number, number][]> = {};
  for (const line of lines) {
    for (const [name, value] of numericMetrics(line)) {
      const points = history[name] ??= [];
      const isThere = points.some(([step, other]) => step === line.step && other === value);
      if (!isThere) points.push([line.step, value]);
    }
  }
  return history;
}

Deno.test({
  name: `what an MLflow server holds of a run equals metrics.jsonl, a resumed run too${
    skipReason(python, "mlflow")
  }`,
  ignore: python === null,
  fn: () =>
    inTemporaryFolder(async (dir) => {
      const port = freePort(), url = `http://127.0.0.1:${port}`;
      const server = new Deno.Command(python!, {
        args: [
          ...["-m", "mlflow", "server", "--host", "127.0.0.1", "--port", String(port)],
          ...["--backend-store-uri", `sqlite:///${dir}/mlflow.db`, "--workers", "1"],
          ...["--default-artifact-root", `${dir}/artifacts`],
        ],
        env: { MLFLOW_DISABLE_TELEMETRY: "true", DO_NOT_TRACK: "true" },
        stdout: "null",
        stderr: "null",
      }).spawn();
      try {
        await untilServed(`${url}/health`, server);
        const read = async () => await askPython(python!, READ, [url]) as ReadRun[];
        const tracker = () => new MlflowTracker({ url, authorization: null });
        const records = recordsUpTo(6);
        const first = await reportRun(`${dir}/run`, tracker(), records);
        const [run, ...none] = await read();
        assertEquals(none.length, 0);
        assertEquals(run.metrics, historyOf(first.lines));
        assertEquals([run.name, run.status], ["a run", "FINISHED"]);
        assertEquals(run.params["training.learning_rate"], "0.00005");
        assertEquals(run.params["training.eval_metrics"], '["anls"]');
        assertStringIncludes(first.text, `${url}/#/experiments/`);

        const later = records.filter(({ step }) => step > 30)
          .map((record) => ({ ...record, again: 1 }));
        const second = await reportRun(`${dir}/run`, tracker(), later, 30);
        const [old, resumed] = await read();
        assertEquals(resumed.metrics, historyOf(second.lines));
        assertEquals(resumed.tags.resumed_from, run.id);
        assertEquals(old.status, "KILLED");
      } finally {
        server.kill();
        await server.status;
      }
    }),
});

Deno.test("mlflowServer() reads the address and who asks from the environment", () => {
  const from = (env: Record<string, string>) => mlflowServer((name) => env[name]);
  assertEquals(from({}), null);
  assertEquals(from({ MLFLOW_TRACKING_URI: "file:///tmp/mlruns" }), null);
  assertEquals(from({ MLFLOW_TRACKING_URI: "http://h:5000/" }), {
    url: "http://h:5000",
    authorization: null,
  });
  const named = { MLFLOW_TRACKING_URI: "https://h", MLFLOW_TRACKING_USERNAME: "me" };
  assertEquals(from(named)?.authorization, `Basic ${btoa("me:")}`);
  assertEquals(from({ ...named, MLFLOW_TRACKING_TOKEN: "t" })?.authorization, "Bearer t");
});

Deno.test("a run whose MLflow server is not named says so once, and goes on", () =>
  inTemporaryFolder(async (dir) => {
    const { text, lines } = await reportRun(`${dir}/run`, new MlflowTracker(null), recordsUpTo(3));
    assertEquals(text.match(/MLFLOW_TRACKING_URI names no server/g)?.length, 1);
    assertEquals(lines.length, recordsUpTo(3).length);
  }));
