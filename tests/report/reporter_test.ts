import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { Reporter } from "../../src/report/reporter.ts";
import { RunDirectory } from "../../src/report/files/run_directory.ts";
import { RunFileError } from "../../src/report/files/run_file_error.ts";
import { EXAMPLE_INFO, HOSTILE, runExample } from "./example_run.ts";
import { fakeTerminal } from "./terminal/fake_terminal.ts";
import { fillDisk, onSmallDisk, whyNoDisk } from "./files/small_disk.ts";
import { inTemporaryFolder } from "./temporary_folder.ts";

function jsonLines(path: string): Record<string, unknown>[] {
  return Deno.readTextFileSync(path).trimEnd().split("\n").map((line) => JSON.parse(line));
}

Deno.test("Reporter writes every file of a run", async () => {
  await inTemporaryFolder(async (dir) => {
    const terminal = fakeTerminal(false);
    await runExample(dir, terminal);
    const names = [...Deno.readDirSync(dir)].map((entry) => entry.name).toSorted();
    assertEquals(names, [
      "completions.jsonl",
      "config.resolved.yaml",
      "metrics.jsonl",
      "report.html",
      "runs",
    ]);
    const metrics = jsonLines(`${dir}/metrics.jsonl`);
    assertEquals(metrics.length, 32);
    assertEquals(metrics[0], { step: 0, eval_loss: 3, eval_exact_match: 0.1 });
    const last = metrics[30];
    assertEquals([last.step, last.loss], [30, 0.1]);
    assert(typeof last.tokens_per_second === "number" && last.tokens_per_second > 0);
    assert(typeof last.peak_memory_bytes === "number" && last.peak_memory_bytes > 1e6);
    const completions = jsonLines(`${dir}/completions.jsonl`);
    assertEquals(completions.map((row) => [row.completion, row.advantage]), [[HOSTILE, -1], [
      "",
      1,
    ]]);
    assert(!("pictures" in completions[0]));
    assertEquals([...Deno.readDirSync(`${dir}/runs`)].length, 1);
  });
});

Deno.test("peak_memory_bytes is the most of all steps and checkpoints, not of logs alone", async () => {
  const memoryUsage = Deno.memoryUsage;
  let rss = 1e9;
  Deno.memoryUsage = () => ({ ...memoryUsage(), rss });
  try {
    await inTemporaryFolder(async (dir) => {
      const reporter = new Reporter(RunDirectory.open(dir), fakeTerminal(false));
      await reporter.onStart(EXAMPLE_INFO);
      rss = 3e9;
      reporter.onStep(1, 10);
      rss = 2e9;
      assertEquals((await reporter.onLog({ step: 1 })).peak_memory_bytes, 3e9);
      await reporter.apart(() => Promise.resolve(rss = 4e9));
      rss = 2e9;
      assertEquals((await reporter.onLog({ step: 2 })).peak_memory_bytes, 4e9);
      await reporter.onEnd({ status: "done" });
    });
  } finally {
    Deno.memoryUsage = memoryUsage;
  }
});

Deno.test("Reporter prints what happens to the terminal, each warning once", async () => {
  await inTemporaryFolder(async (dir) => {
    const terminal = fakeTerminal(false);
    await runExample(dir, terminal);
    assertEquals(terminal.text.split("warning: ").length, 2);
    assertStringIncludes(terminal.text, "step 0: eval_loss 3  eval_exact_match 0.1000\n");
    assertStringIncludes(terminal.text, "  What colour? ? (expected: red)\n");
    assertStringIncludes(terminal.text, "  What colour? red (right)\n");
    assertMatch(
      terminal.text,
      /grpo: step 30\/30 \(100%\) {2}reward 1 {2}lr 1\.0e-4/,
    );
    assertMatch(
      terminal.text,
      /Sample answers\nquestion .*\n─.*\nWhat colour\? +red +red +right\n/,
    );
    assertStringIncludes(terminal.text, "grpo: done at step 30");
    assertStringIncludes(terminal.text, `report: ${dir}/report.html`);
    assertStringIncludes(terminal.text, "deno task generate");
  });
});

Deno.test("Reporter resumed goes on with metrics, completions and curves of before", async () => {
  await inTemporaryFolder(async (dir) => {
    await runExample(dir, fakeTerminal(false));
    const reporter = new Reporter(RunDirectory.open(dir, "resume"), fakeTerminal(false));
    await reporter.onStart({ ...EXAMPLE_INFO, resumedFromStep: 20 });
    await reporter.onLog({ step: 21, loss: 77 });
    reporter.onCompletions([
      { step: 21, prompt: "p", completion: "c", rewards: {}, reward: null, advantage: null },
    ]);
    await reporter.onEnd({ status: "interrupted", message: "Ctrl-C" });
    const metrics = jsonLines(`${dir}/metrics.jsonl`);
    assertEquals(metrics.map((record) => record.step), Array.from({ length: 22 }, (_, i) => i));
    assertEquals(metrics[21].loss, 77);
    assertEquals(jsonLines(`${dir}/completions.jsonl`).map((row) => row.step), [21]);
    assertEquals([...Deno.readDirSync(`${dir}/runs`)].length, 2);
    const page = Deno.readTextFileSync(`${dir}/report.html`);
    const data = /id="report-data">(.*?)<\/script>/s.exec(page)?.[1] ?? "";
    const charts: {
      title: string;
      series: { key: string; steps: number[]; values: number[] }[];
    }[] = JSON.parse(data).charts;
    const [loss] = charts.find(({ title }) => title === "Loss")!.series;
    assertEquals([loss.key, loss.steps.length, loss.values.at(-1)], ["loss", 21, 77]);
    assertStringIncludes(page, "interrupted");
    assertStringIncludes(page, "since step 20");
  });
});

Deno.test("Reporter writes no event files if told so", async () => {
  await inTemporaryFolder(async (dir) => {
    const reporter = new Reporter(RunDirectory.open(dir), fakeTerminal(false));
    await reporter.onStart({ ...EXAMPLE_INFO, tensorBoard: false });
    await reporter.onEnd({ status: "done" });
    assert(![...Deno.readDirSync(dir)].some((entry) => entry.name === "runs"));
  });
});

Deno.test({
  name: `Reporter on a disk that fills up: an error with the path, every file whole${
    whyNoDisk === null ? "" : ` (skipped: ${whyNoDisk})`
  }`,
  ignore: whyNoDisk !== null,
  fn: async () => {
    await onSmallDisk(async (dir) => {
      // The page does not fit beside its older self, which is a warning; the metrics are an error.
      const terminal = fakeTerminal(false);
      const reporter = new Reporter(RunDirectory.open(`${dir}/out`), terminal);
      await reporter.onStart(EXAMPLE_INFO);
      await reporter.onLog({ step: 0, loss: 3 });
      fillDisk(dir);
      const error = await assertRejects(async () => {
        for (let step = 1; step < 5000; step++) {
          await reporter.onLog({ step, text: "x".repeat(200) });
        }
      }, RunFileError);
      assertStringIncludes(error.message, `${dir}/out/`);
      assertStringIncludes(error.message, "disk is full");
      await reporter.onEnd({ status: "failed", message: error.message });
      assertStringIncludes(terminal.text, "grpo: failed");
      for (const record of jsonLines(`${dir}/out/metrics.jsonl`)) assert("step" in record);
      for (const entry of Deno.readDirSync(`${dir}/out`)) {
        assert(!entry.name.includes(".writing-"), entry.name);
        if (entry.name !== "report.html") continue;
        assert(Deno.readTextFileSync(`${dir}/out/report.html`).trimEnd().endsWith("</html>"));
      }
    });
  },
});

Deno.test("Reporter shows the loss from the first step, and means from the first log", async () => {
  await inTemporaryFolder(async (dir) => {
    const terminal = fakeTerminal(true);
    const reporter = new Reporter(RunDirectory.open(dir), terminal);
    await reporter.onStart({ ...EXAMPLE_INFO, label: "sft", completionsToPrint: 0 });
    reporter.onStep(1, 64, undefined, 4.25);
    assertStringIncludes(terminal.text, "loss 4.250");
    await reporter.onLog({ step: 2, loss: 3 });
    reporter.onStep(30, 64, undefined, 1.75);
    assert(!terminal.text.includes("loss 1.750"), terminal.text);
    await reporter.onEnd({ status: "done" });
  });
});

Deno.test("Reporter shows the reward of GRPO and not its loss, which is about 0", async () => {
  await inTemporaryFolder(async (dir) => {
    const terminal = fakeTerminal(true);
    const reporter = new Reporter(RunDirectory.open(dir), terminal);
    await reporter.onStart(EXAMPLE_INFO);
    reporter.onStep(1, 64, undefined, 1e-17);
    await reporter.onLog({ step: 1, loss: 1e-17, reward: 0.25 });
    await reporter.onEnd({ status: "done" });
    assert(!terminal.text.includes("loss"), terminal.text);
    assertStringIncludes(terminal.text, "reward 0.25");
  });
});
