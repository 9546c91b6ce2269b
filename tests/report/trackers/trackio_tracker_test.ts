import { assertEquals, assertStringIncludes } from "@std/assert";
import { trackioPlace, TrackioTracker } from "../../../src/report/trackers/trackio_tracker.ts";
import type { MetricsRecord } from "../../../src/report/files/metrics_record.ts";
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

const python = await pythonWith("trackio");

const READ = `
import json, sys
from trackio.sqlite_storage import SQLiteStorage as S
runs = S.get_runs("shapes")
config = S.get_run_config("shapes", "a run")
print(json.dumps({"runs": runs, "logs": S.get_logs("shapes", "a run"), "config": config}))
`;
const SERVE = `
import sys, trackio
trackio.show(open_browser=False, host="127.0.0.1", server_port=int(sys.argv[1]), block_thread=True)
`;

interface Read {
  readonly runs: readonly string[];
  readonly logs: readonly Record<string, unknown>[];
  readonly config: { readonly training: unknown };
}

/** What Trackio's own reader finds, without the time that it adds. */
async function read(folder: string): Promise<Read> {
  const env = { TRACKIO_DIR: folder, HF_HUB_OFFLINE: "1" };
  const found = await askPython(python!, READ, [], env) as Read;
  return { ...found, logs: found.logs.map(({ timestamp: _, ...log }) => log) };
}

/** Runs twice, the second time from step 30 on, and compares. */
async function checkRuns(
  dir: string,
  tracker: () => TrackioTracker,
  readLogs: () => Promise<Read>,
): Promise<void> {
  const sorted = (lines: readonly MetricsRecord[]) => lines.map((line) => ({ ...line }));
  const records = recordsUpTo(6);
  const first = await reportRun(`${dir}/run`, tracker(), records);
  const found = await readLogs();
  assertEquals(found.logs, sorted(first.lines));
  assertEquals(found.runs.length, 1);
  assertEquals(found.config.training, { learning_rate: 5e-5, eval_metrics: ["anls"] });
  const later = records.filter(({ step }) => step > 30).map((record) => ({ ...record, again: 1 }));
  const second = await reportRun(`${dir}/run`, tracker(), later, 30);
  const resumed = await readLogs();
  assertEquals(resumed.logs, sorted(second.lines));
  assertEquals(resumed.runs.length, 1, "the same run");
}

Deno.test({
  name: `what Trackio reads of a run in its database equals metrics.jsonl, a resumed run too${
    skipReason(python, "trackio")
  }`,
  ignore: python === null,
  fn: () =>
    inTemporaryFolder(async (dir) => {
      const folder = `${dir}/trackio`;
      await checkRuns(dir, () => new TrackioTracker({ folder }), () => read(folder));
      const { text } = await reportRun(
        `${dir}/other`,
        new TrackioTracker({ folder }),
        recordsUpTo(1),
      );
      assertStringIncludes(text, "trackio show --project shapes");
    }),
});

Deno.test({
  name: `what a Trackio server holds of a run equals metrics.jsonl, a resumed run too${
    skipReason(python, "trackio")
  }`,
  ignore: python === null,
  fn: () =>
    inTemporaryFolder(async (dir) => {
      const folder = `${dir}/trackio`, port = freePort();
      const server = new Deno.Command(python!, {
        args: ["-c", SERVE, String(port)],
        env: { TRACKIO_DIR: folder, TRACKIO_WRITE_TOKEN: "secret", HF_HUB_OFFLINE: "1" },
        stdout: "null",
        stderr: "null",
      }).spawn();
      try {
        const url = `http://127.0.0.1:${port}`;
        await untilServed(`${url}/version`, server);
        const place = trackioPlace((name) =>
          name === "TRACKIO_SERVER_URL" ? `${url}?write_token=secret` : undefined
        );
        assertEquals(place, { url: `${url}/`, writeToken: "secret" });
        await checkRuns(dir, () => new TrackioTracker(place), () => read(folder));
        const refused = await reportRun(
          `${dir}/refused`,
          new TrackioTracker({ url: `${url}/`, writeToken: "wrong" }),
          recordsUpTo(2),
        );
        assertStringIncludes(refused.text, "trackio gets no further metrics");
        assertEquals(refused.lines.length, recordsUpTo(2).length);
      } finally {
        server.kill();
        await server.status;
      }
    }),
});
