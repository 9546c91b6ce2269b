import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { RunDirectory, RunExistsError } from "../../../src/report/files/run_directory.ts";
import { RunFileError } from "../../../src/report/files/run_file_error.ts";
import { fillDisk, onReadOnlyDisk, onSmallDisk, whyNoDisk } from "./small_disk.ts";
import { inTemporaryFolder } from "../temporary_folder.ts";

const skipped = whyNoDisk === null ? "" : ` (skipped: ${whyNoDisk})`;

Deno.test("RunDirectory makes the folder with its parents and leaves nothing else in it", async () => {
  await inTemporaryFolder(async (dir) => {
    const run = RunDirectory.open(`${dir}/a/b`);
    assertEquals([...Deno.readDirSync(`${dir}/a/b`)], []);
    await run.writeConfig("training_type: sft\n");
    assertEquals(Deno.readTextFileSync(run.configPath), "training_type: sft\n");
    assertEquals([...Deno.readDirSync(run.path)].map((e) => e.name), ["config.resolved.yaml"]);
  });
});

Deno.test("RunDirectory keeps a page that waits, and takes it away if the run never begins", async () => {
  await inTemporaryFolder(async (dir) => {
    const run = RunDirectory.open(`${dir}/run`);
    await run.writeWaitingPage("<p>wait</p>");
    assertEquals(Deno.readTextFileSync(run.reportPath), "<p>wait</p>");
    run.abandon();
    assertEquals([...Deno.readDirSync(dir)], []);

    const resumed = RunDirectory.open(`${dir}/run`, "resume");
    Deno.writeTextFileSync(resumed.reportPath, "<p>the run</p>");
    await resumed.writeWaitingPage("<p>wait</p>");
    assertEquals(Deno.readTextFileSync(resumed.reportPath), "<p>the run</p>");
    resumed.abandon();
    assertEquals(Deno.readTextFileSync(resumed.reportPath), "<p>the run</p>");
  });
});

Deno.test("RunDirectory takes a folder that holds other things but no run", async () => {
  await inTemporaryFolder((dir) => {
    Deno.writeTextFileSync(`${dir}/notes.txt`, "mine");
    RunDirectory.open(dir);
    assertEquals(Deno.readTextFileSync(`${dir}/notes.txt`), "mine");
  });
});

Deno.test("RunDirectory refuses a folder with a run, and continues it if told so", async () => {
  await inTemporaryFolder((dir) => {
    Deno.mkdirSync(`${dir}/checkpoint-20`);
    Deno.writeTextFileSync(`${dir}/metrics.jsonl`, `{"step":1}\n`);
    const error = assertThrows(() => RunDirectory.open(dir), RunExistsError);
    for (const part of [dir, "checkpoint-20", "--resume", "--output-dir"]) {
      assertStringIncludes(error.message, part);
    }
    RunDirectory.open(dir, "resume");
    assertEquals(Deno.readTextFileSync(`${dir}/metrics.jsonl`), `{"step":1}\n`);
  });
});

Deno.test("RunDirectory moves an old run aside without overwriting an older one", async () => {
  await inTemporaryFolder((dir) => {
    for (const text of ["first", "second", "third"]) {
      RunDirectory.open(`${dir}/out/`, "move_aside");
      Deno.writeTextFileSync(`${dir}/out/metrics.jsonl`, text);
    }
    assertEquals(Deno.readTextFileSync(`${dir}/out-1/metrics.jsonl`), "first");
    assertEquals(Deno.readTextFileSync(`${dir}/out-2/metrics.jsonl`), "second");
    assertEquals(Deno.readTextFileSync(`${dir}/out/metrics.jsonl`), "third");
  });
});

Deno.test("RunDirectory says so when a file is in the way", async () => {
  await inTemporaryFolder((dir) => {
    Deno.writeTextFileSync(`${dir}/file`, "");
    for (const path of [`${dir}/file`, `${dir}/file/below`]) {
      const error = assertThrows(() => RunDirectory.open(path), RunFileError);
      assertStringIncludes(error.message, path);
      assertStringIncludes(error.message, "in the way");
    }
  });
});

Deno.test({
  name: "RunDirectory names the permission that Deno was not given",
  permissions: { read: true, write: false },
  fn: () => {
    const error = assertThrows(() => RunDirectory.open("no-such-output"), RunFileError);
    assertStringIncludes(error.message, "--allow-write");
  },
});

Deno.test({
  name: `RunDirectory finds a read-only disk before anything is trained${skipped}`,
  ignore: whyNoDisk !== null,
  fn: async () => {
    await onReadOnlyDisk((dir) => {
      for (const path of [dir, `${dir}/below`]) {
        const error = assertThrows(() => RunDirectory.open(path), RunFileError);
        assertStringIncludes(error.message, "read-only");
        assertStringIncludes(error.message, path);
      }
    });
  },
});

Deno.test({
  name: `RunDirectory finds a full disk before anything is trained${skipped}`,
  ignore: whyNoDisk !== null,
  fn: async () => {
    await onSmallDisk((dir) => {
      fillDisk(dir);
      const error = assertThrows(() => RunDirectory.open(dir), RunFileError);
      assert(error.diskFull);
      assertEquals([...Deno.readDirSync(dir)].map((entry) => entry.name), ["filler"]);
    });
  },
});
