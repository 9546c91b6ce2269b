import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { WandbTracker } from "../../../src/report/trackers/wandb_tracker.ts";
import { frameForLog } from "../../../src/report/trackers/wandb_records.ts";
import { inTemporaryFolder } from "../temporary_folder.ts";
import { pythonWith, recordsUpTo, reportRun, skipReason } from "./tracker_python.ts";

const python = await pythonWith("wandb");

interface Uploaded {
  readonly history: Record<string, unknown>[];
  readonly summary: Record<string, unknown>;
  readonly bucket: Record<string, string>;
  readonly exitCode: number | null;
}

/** A W&B server on loopback, as far as `wandb sync` needs one. */
function startWandbServer() {
  const history = new Map<number, string>();
  let summary = {}, bucket: Record<string, string> = {}, exitCode: number | null = null;
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    async (request) => {
      const path = new URL(request.url).pathname;
      const body = new Uint8Array(await request.arrayBuffer());
      if (path === "/graphql") {
        const { query, variables } = JSON.parse(new TextDecoder().decode(body));
        if (!query.includes("upsertBucket")) {
          return Response.json({
            data: { createRunFiles: { runID: "1", uploadHeaders: [], files: [] } },
          });
        }
        const given = Object.entries(variables).filter(([, value]) => value !== null);
        bucket = { ...bucket, ...Object.fromEntries(given) as Record<string, string> };
        const project = { id: "p", name: variables.project, entity: { id: "e", name: "team" } };
        const one = { id: "1", name: variables.name, displayName: "d", config: "{}", project };
        return Response.json({ data: { upsertBucket: { bucket: one, inserted: true } } });
      }
      if (path.endsWith("/file_stream")) {
        const { files = {}, exitcode } = JSON.parse(new TextDecoder().decode(body));
        const rows = files["wandb-history.jsonl"];
        rows?.content.forEach((line: string, i: number) => history.set(rows.offset + i, line));
        const last = files["wandb-summary.json"]?.content.at(-1);
        if (last !== undefined) summary = JSON.parse(last);
        if (exitcode !== undefined) exitCode = exitcode;
      }
      return Response.json({});
    },
  );
  return {
    url: `http://127.0.0.1:${server.addr.port}`,
    uploaded: (): Uploaded => ({
      history: [...history].sort(([a], [b]) => a - b).map(([, line]) => JSON.parse(line)),
      summary,
      bucket,
      exitCode,
    }),
    close: () => server.shutdown(),
  };
}

/** What the real `wandb sync` uploads of a run's folder. */
async function sync(folder: string, home: string): Promise<Uploaded> {
  const server = startWandbServer();
  try {
    const { success, stdout, stderr } = await new Deno.Command(python!, {
      args: ["-m", "wandb", "sync", folder],
      cwd: home,
      env: {
        WANDB_BASE_URL: server.url,
        WANDB_API_KEY: "0".repeat(40),
        WANDB_ERROR_REPORTING: "false",
        HOME: home,
      },
    }).output();
    const told = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
    assert(success, told);
    return server.uploaded();
  } finally {
    await server.close();
  }
}

/** The columns of metrics.jsonl alone. */
function withoutOwn(history: readonly Record<string, unknown>[]): unknown[] {
  return history.map((row, i) => {
    assertEquals(row._step, i);
    assert(typeof row._timestamp === "number" && typeof row._runtime === "number");
    return Object.fromEntries(Object.entries(row).filter(([name]) => !name.startsWith("_")));
  });
}

function runFolder(dir: string): string {
  const names = [...Deno.readDirSync(`${dir}/wandb`)].map(({ name }) => name);
  assertEquals(names.length, 1);
  return `${dir}/wandb/${names[0]}`;
}

Deno.test({
  name: `what wandb sync uploads of a run equals metrics.jsonl, a resumed run too${
    skipReason(python, "wandb")
  }`,
  ignore: python === null,
  fn: () =>
    inTemporaryFolder(async (dir) => {
      const tracker = () => new WandbTracker({ entity: "team" });
      const records = recordsUpTo(6);
      const first = await reportRun(`${dir}/run`, tracker(), records);
      const folder = runFolder(`${dir}/run`);
      assertStringIncludes(first.text, `wandb sync ${folder}`);
      const uploaded = await sync(folder, dir);
      assertEquals(withoutOwn(uploaded.history), first.lines);
      assertEquals(uploaded.exitCode, 0);
      const summary = Object.entries(uploaded.summary).filter(([name]) => !name.startsWith("_"));
      assertEquals(Object.fromEntries(summary), Object.assign({}, ...first.lines));
      const { project, entity, name, displayName, config } = uploaded.bucket;
      assertEquals([project, entity, displayName], ["shapes", "team", "a run"]);
      assert(folder.endsWith(`-${name}`));
      const { training, note } = JSON.parse(config);
      assertEquals(training.value, { learning_rate: 5e-5, eval_metrics: ["anls"] });
      assertEquals(note.value.length, 50_000, "a record that crosses the blocks of the log");

      // The run goes on from step 30: what came after it is written again.
      const later = records.filter(({ step }) => step > 30).map((record) => ({
        ...record,
        again: 1,
      }));
      const second = await reportRun(`${dir}/run`, tracker(), later, 30);
      assertEquals(runFolder(`${dir}/run`), folder, "the same run");
      const resumed = await sync(folder, dir);
      assertEquals(withoutOwn(resumed.history), second.lines);
      assertEquals(second.lines.filter(({ again }) => again === 1).length, later.length);
    }),
});

Deno.test("frameForLog() splits records at the log's blocks, and pads where no head fits", () => {
  const block = 32_768;
  const kinds = (record: number, at: number) => {
    const framed = frameForLog(new Uint8Array(record), at);
    const found: number[] = [];
    for (let i = 0; i < framed.length;) {
      const left = block - (at + i) % block;
      if (left < 7) {
        i += left;
        continue;
      }
      const view = new DataView(framed.buffer, framed.byteOffset + i);
      found.push(view.getUint8(6));
      i += 7 + view.getUint16(4, true);
    }
    return found;
  };
  assertEquals(kinds(10, 7), [1]);
  assertEquals(kinds(block - 14, 7), [1], "it ends with the block");
  assertEquals(kinds(block - 13, 7), [2, 4]);
  assertEquals(kinds(3 * block, 7), [2, 3, 3, 4]);
  assertEquals(kinds(10, block - 6), [1], "six bytes are padding");
  assertEquals(kinds(10, block - 7), [2, 4], "a head alone fits");
  assertEquals(kinds(0, 7), [1]);
});
