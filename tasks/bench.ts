/**
 * `bench`.
 *
 * @module
 */
import { BACKEND_CHOICES, type BackendChoice } from "../src/config/schema/device_backend.ts";
import {
  OPTIMIZER_NAMES,
  type OptimizerName,
} from "../src/config/schema/optimizer/optimizer_names.ts";
import { type OptionSpec, parseOptions } from "./arguments.ts";
import type { Command } from "./command.ts";
import { UsageError } from "./usage_error.ts";

/** The benchmarks. */
export const BENCHMARKS = ["ops", "step", "decode", "grpo-step", "memory", "kernels"] as const;

const MODELS = ["tiny", "230m", "256m"] as const;

const PRECISIONS = ["float32", "bf16", "fp16"] as const;

/** What `bench` was asked for. */
export interface BenchOptions {
  /** undefined: all of them. */
  readonly what: typeof BENCHMARKS[number] | "check" | undefined;
  readonly model: typeof MODELS[number];
  readonly backend: BackendChoice | undefined;
  /** A command whose numbers are compared with ours. */
  readonly against: string | undefined;
  /** Compares the step with the same on stock tfjs. */
  readonly stock: boolean;
  /** What `kernels` calculates with, if given: GB/s, TFLOP/s, microseconds. */
  readonly bandwidth: number | undefined;
  readonly tflops: number | undefined;
  readonly launchUs: number | undefined;
  /** Times that ours and the command's take turns. */
  readonly rounds: number;
  /** Samples of each time. */
  readonly reps: number;
  /** What is counted. */
  readonly clock: "wall" | "cpu";
  /** Of step and memory. */
  readonly precision: typeof PRECISIONS[number];
  /** Also step LoRA adapters. */
  readonly lora: boolean;
  /** Their base is in 8 bits. */
  readonly eightBits: boolean;
  /** Their step computes blocks again in the backward pass. */
  readonly checkpointing: boolean;
  /** Of step and kernels; undefined: AdamW. */
  readonly optimizer: OptimizerName | undefined;
  /** Whether GRPO reads a prompt once for all completions. */
  readonly sharePrefix: boolean;
  readonly json: boolean;
  /** Of `check`: the file of ratios. */
  readonly record: string;
  /** Of `check`: write the record instead of comparing with it. */
  readonly write: boolean;
  /** Of `check`: the change that counts, 0.1 for a tenth. */
  readonly margin: number;
}

/** The record of the project. */
const RECORD = "bench/record.json";

const options: readonly OptionSpec[] = [
  { name: "model", kind: "text", choices: MODELS, summary: "its size (tiny)" },
  { name: "backend", kind: "text", choices: BACKEND_CHOICES, summary: "where to compute" },
  {
    name: "against",
    kind: "text",
    value: '"PYTHON SCRIPT …"',
    summary: "run this too, and print the ratios",
  },
  {
    name: "stock",
    kind: "flag",
    summary: "step, on webgpu: run it on stock tfjs too, and print the ratios",
  },
  {
    name: "rounds",
    kind: "integer",
    value: "N",
    min: 1,
    summary: "with --against or --stock: take turns so often (1); check: so often (3)",
  },
  { name: "reps", kind: "integer", value: "N", min: 1, summary: "samples of each time (5)" },
  {
    name: "clock",
    kind: "text",
    choices: ["wall", "cpu"],
    summary: "seconds that pass (wall), or processor seconds of all threads",
  },
  {
    name: "precision",
    kind: "text",
    choices: PRECISIONS,
    summary: "step, memory, kernels: of the training step (float32)",
  },
  { name: "lora", kind: "flag", summary: "step, kernels: a LoRA step too" },
  { name: "load-in-8bit", kind: "flag", summary: "step --lora: on frozen weights in 8 bits" },
  {
    name: "gradient-checkpointing",
    kind: "flag",
    summary: "step --lora: blocks are computed again in the backward pass",
  },
  {
    name: "optim",
    kind: "text",
    choices: OPTIMIZER_NAMES,
    summary: "step, kernels: the optimizer (adamw_torch)",
  },
  {
    name: "bandwidth",
    kind: "number",
    value: "GB/s",
    min: 1,
    summary: "kernels: of a GPU's memory (504, an RTX 4070)",
  },
  {
    name: "tflops",
    kind: "number",
    value: "TFLOP/s",
    min: 0.01,
    summary: "kernels: of a GPU in float32 (29.1, an RTX 4070)",
  },
  {
    name: "launch-us",
    kind: "number",
    value: "US",
    min: 0,
    summary: "kernels: microseconds that a dispatch takes at least (5)",
  },
  {
    name: "separate-rows",
    kind: "flag",
    summary: "grpo-step: compute picture and prompt again for every completion",
  },
  { name: "record", kind: "text", value: "F.json", summary: `check: the record (${RECORD})` },
  { name: "write", kind: "flag", summary: "check: write the record, compare with nothing" },
  {
    name: "margin",
    kind: "number",
    value: "X",
    min: 0,
    summary: "check: a change of more than this share counts (0.1)",
  },
  {
    name: "json",
    kind: "flag",
    summary: "print one JSON object on stdout, and nothing else there",
  },
];

/**
 * Parses the arguments of `bench`.
 *
 * @throws {UsageError}
 */
export function parseBenchArguments(args: readonly string[]): BenchOptions {
  const parsed = parseOptions(args, options, ["[benchmark]"]);
  const [given] = parsed.positionals;
  const what = [...BENCHMARKS, "check" as const].find((name) => name === given);
  if (given !== undefined && what === undefined) {
    throw new UsageError(
      `got ${JSON.stringify(given)}, want one of ${BENCHMARKS.join(", ")}, check`,
    );
  }
  const ofCheck = { record: parsed.text("record"), margin: parsed.number("margin") };
  const written = Object.entries({ ...ofCheck, write: parsed.flag("write") || undefined })
    .find(([, value]) => value !== undefined);
  if (what !== "check" && written !== undefined) {
    throw new UsageError(`--${written[0]} wants the benchmark check`);
  }
  const against = parsed.text("against");
  const comparable = ["step", "decode", "grpo-step"];
  if (against !== undefined && (what === undefined || !comparable.includes(what))) {
    throw new UsageError(`--against wants one of ${comparable.join(", ")} to compare with`);
  }
  const ofLora = ["load-in-8bit", "gradient-checkpointing"].find((name) => parsed.flag(name));
  if (ofLora !== undefined && !(what === "step" && parsed.flag("lora"))) {
    throw new UsageError(`--${ofLora} wants the benchmark step and --lora`);
  }
  const stock = parsed.flag("stock");
  if (stock && what !== "step") throw new UsageError("--stock wants the benchmark step");
  if (stock && against !== undefined) {
    throw new UsageError("got --stock and --against; ours is compared with one of them at a time");
  }
  return {
    what,
    stock,
    bandwidth: parsed.number("bandwidth"),
    tflops: parsed.number("tflops"),
    launchUs: parsed.number("launch-us"),
    model: MODELS.find((name) => name === parsed.text("model")) ?? "tiny",
    backend: parsed.text("backend") as BackendChoice | undefined,
    against,
    rounds: parsed.number("rounds") ?? (what === "check" ? 3 : 1),
    reps: parsed.number("reps") ?? 5,
    clock: parsed.text("clock") === "cpu" ? "cpu" : "wall",
    precision: PRECISIONS.find((name) => name === parsed.text("precision")) ?? "float32",
    lora: parsed.flag("lora"),
    eightBits: parsed.flag("load-in-8bit"),
    checkpointing: parsed.flag("gradient-checkpointing"),
    optimizer: OPTIMIZER_NAMES.find((name) => name === parsed.text("optim")),
    sharePrefix: !parsed.flag("separate-rows"),
    json: parsed.flag("json"),
    record: ofCheck.record ?? RECORD,
    write: parsed.flag("write"),
    margin: ofCheck.margin ?? 0.1,
  };
}

/** `bench check`: 1 if a benchmark got worse. */
async function check(options: BenchOptions): Promise<number> {
  const { record: path, write, margin, json, ...request } = options;
  const { initBackend } = await import("../src/device/backend.ts");
  const { measureRatios } = await import("../src/bench/check/run_check.ts");
  const { compareWithRecord, findEntry, readRecord, withEntry } = await import(
    "../src/bench/check/record.ts"
  );
  const { formatCheck } = await import("../src/bench/check/check_table.ts");
  const { writeTextAtomically } = await import("../src/atomic_write.ts");
  const record = await readRecord(path); // Before the work, which takes minutes.
  const active = await initBackend({ backend: options.backend ?? "auto" });
  console.error(`backend ${active.reason}`);
  const now = await measureRatios({ ...request, onProgress: (line) => console.error(line) });
  if (write) {
    await writeTextAtomically(path, JSON.stringify(withEntry(record, now), null, 2) + "\n");
    console.error(`wrote ${path}`);
    return 0;
  }
  const then = findEntry(record, now);
  const rows = compareWithRecord(now, then, margin);
  console.log(json ? JSON.stringify({ now, then, rows }) : formatCheck(now, then, rows));
  return rows.some(({ verdict }) => verdict === "worse") ? 1 : 0;
}

/** The command. */
export const command: Command = {
  name: "bench",
  summary: "run the benchmarks",
  usage: "[ops|step|decode|grpo-step|memory|kernels|check] [options]",
  options,
  async run(args) {
    const parsed = parseBenchArguments(args);
    const { what, backend, against, json, ...given } = parsed;
    if (what === "check") return await check(parsed);
    const { bandwidth, tflops, launchUs, record: _record, write: _write, margin: _, ...request } =
      given;
    const { initBackend } = await import("../src/device/backend.ts");
    const { runBench } = await import("../src/bench/run_bench.ts");
    const { formatBenchReport } = await import("../src/bench/bench_table.ts");
    const { assertNoGpuErrors } = await import("../src/device/gpu_errors.ts");
    const { TYPICAL_GPU } = await import("../src/bench/kernels_bench.ts");
    const wanted = backend ?? (what === "kernels" || request.stock ? "webgpu" : "auto");
    const active = await initBackend({ backend: wanted });
    // Without a name all that the backend has.
    const all = BENCHMARKS.filter((name) => name !== "kernels" || active.name === "webgpu");
    console.error(`backend ${active.reason}`);
    const report = await runBench({
      ...request,
      what: what === undefined ? all : [what],
      rates: {
        bandwidth: bandwidth ?? TYPICAL_GPU.bandwidth,
        tflops: tflops ?? TYPICAL_GPU.tflops,
        launchUs: launchUs ?? TYPICAL_GPU.launchUs,
      },
      against: against ?? null,
      onProgress: (line) => console.error(line),
    });
    assertNoGpuErrors();
    console.log(json ? JSON.stringify(report) : formatBenchReport(report).trimEnd());
    return 0;
  },
};
