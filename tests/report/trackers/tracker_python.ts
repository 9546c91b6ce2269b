/** The first Python here that has a package, and a run whose metrics trackers get. */
import { Reporter } from "../../../src/report/reporter.ts";
import { RunDirectory } from "../../../src/report/files/run_directory.ts";
import type { MetricsRecord } from "../../../src/report/files/metrics_record.ts";
import type { Tracker } from "../../../src/report/trackers/tracker.ts";
import { EXAMPLE_INFO } from "../example_run.ts";
import { fakeTerminal } from "../terminal/fake_terminal.ts";

/** Finds a Python with a package; null: there is none. */
export async function pythonWith(module: string): Promise<string | null> {
  for (const python of ["python3", "python"]) {
    try {
      // A folder of that name is a package without an origin.
      const found = `getattr(importlib.util.find_spec("${module}"), "origin", None)`;
      const { success } = await new Deno.Command(python, {
        args: ["-c", `import importlib.util, sys; sys.exit(${found} is None)`],
        stdout: "null",
        stderr: "null",
      }).output();
      if (success) return python;
    } catch {
      // No Python of that name.
    }
  }
  return null;
}

/** Why tests are skipped; empty if they run. */
export function skipReason(python: string | null, module: string): string {
  return python === null ? ` (skipped: no Python with ${module})` : "";
}

/** Runs Python, and returns what it printed as JSON. */
export async function askPython(
  python: string,
  script: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<unknown> {
  const { success, stdout, stderr } = await new Deno.Command(python, {
    args: ["-c", script, ...args],
    env,
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout).trim().split("\n").at(-1)!);
}

/** Records of a run: two at one step, a value that is not finite, and a text. */
export function recordsUpTo(steps: number): MetricsRecord[] {
  return Array.from({ length: steps }, (_, i): MetricsRecord[] => {
    const step = 10 * (i + 1);
    return [
      {
        step,
        epoch: i / 3,
        loss: i === 1 ? NaN : 2 / (i + 1),
        "rewards/format/mean": i / 7,
        grad_norm: 1e-7,
      },
      ...(i % 2 === 1 ? [{ step, eval_loss: 1 / (i + 2), concerns: "loss_rises" }] : []),
    ];
  }).flat();
}

/** What a run is told of its trackers. */
const CONFIG = {
  training_type: "sft",
  training: { learning_rate: 5e-5, eval_metrics: ["anls"] },
  note: "long ".repeat(10_000),
};

/** Reports a run, or goes on with one, and returns the lines of its metrics.jsonl and the terminal. */
export async function reportRun(
  folder: string,
  tracker: Tracker,
  records: readonly MetricsRecord[],
  resumedFromStep?: number,
): Promise<{ lines: MetricsRecord[]; text: string }> {
  const terminal = fakeTerminal(false);
  const reporter = new Reporter(
    RunDirectory.open(folder, resumedFromStep === undefined ? "move_aside" : "resume"),
    terminal,
  );
  await reporter.onStart({
    ...EXAMPLE_INFO,
    resumedFromStep,
    tensorBoard: false,
    tracking: { trackers: [tracker], name: "a run", project: "shapes", config: CONFIG },
  });
  for (const record of records) {
    if ("eval_loss" in record) await reporter.onEvaluate(record);
    else await reporter.onLog({ tokens_per_second: 1, peak_memory_bytes: 2, ...record });
  }
  await reporter.onEnd({ status: "done" });
  const lines = Deno.readTextFileSync(`${folder}/metrics.jsonl`).trim().split("\n");
  return { lines: lines.map((line) => JSON.parse(line)), text: terminal.text };
}

/** Waits until a server answers. */
export async function untilServed(url: string, process: Deno.ChildProcess): Promise<void> {
  let ended = false;
  process.status.then(() => ended = true);
  for (let i = 0; i < 600; i++) {
    try {
      const response = await fetch(url);
      await response.body?.cancel();
      if (response.ok) return;
    } catch {
      // not yet
    }
    if (ended) throw new Error(`The server of ${url} ended`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error(`No server at ${url}`);
}

/** A port that is free. */
export function freePort(): number {
  using listener = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  return (listener.addr as Deno.NetAddr).port;
}
