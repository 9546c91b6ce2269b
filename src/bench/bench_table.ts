/**
 * A benchmark's report for people.
 *
 * @module
 */
import { memoryPlot } from "./memory_plot.ts";
import { formatTable } from "../report/terminal/console_table.ts";
import { higherIsBetter } from "./against.ts";
import type { KernelsResult, StepKernels } from "./kernels_bench.ts";
import type { BenchReport, WorkResult } from "./run_bench.ts";

const LABELS: Record<string, string> = {
  forward_s: "forward, s",
  step_s: "training step, s",
  step_fastest_s: "training step, fastest, s",
  adamw_s: "AdamW alone, s",
  peak_mib: "peak memory, MiB",
  lora_step_s: "LoRA step on frozen weights, s",
  lora_later_step_s: "LoRA step, picture features kept, s",
  lora_step_fastest_s: "LoRA step, fastest, s",
  lora_peak_mib: "LoRA step, peak memory, MiB",
  decode_1_tokens_per_s: "greedy decode, batch 1, tokens/s",
  decode_8_tokens_per_s: "greedy decode, batch 8, tokens/s",
  generate_s: "generation, s",
  reference_s: "reference pass, s",
  train_s: "training pass, s",
  grpo_step_s: "GRPO step, s",
};

const right = (header: string) => ({ header, align: "right" as const });

function workTable(title: string, { ours, theirs, ratios }: WorkResult): string {
  const rows = Object.keys(ours).map((name) => {
    const ratio = ratios.find((one) => one.name === name);
    return [
      LABELS[name] ?? name,
      ours[name],
      ...theirs === null ? [] : [
        theirs[name] ?? null,
        ratio?.ratio ?? null,
        ratio === undefined
          ? null
          : `${ratio.smallest.toPrecision(3)} … ${ratio.largest.toPrecision(3)}`,
        ratio === undefined ? null : higherIsBetter(name) ? "higher" : "lower",
      ],
    ];
  });
  const columns = [
    { header: title },
    right("ours"),
    ...theirs === null ? [] : [right("theirs"), right("ours/theirs"), right("of rounds"), {
      header: "better",
    }],
  ];
  return formatTable(columns, rows);
}

function kernelTables({ step, lora_step, bandwidth, tflops, launchUs }: KernelsResult): string[] {
  const table = (title: string, { rows, total }: StepKernels): string =>
    formatTable(
      [
        { header: title },
        ...["dispatches", "MB", "GFLOP", "ms", "share, %"].map(right),
        { header: "limited by" },
      ],
      [...rows, { kernel: "all", ...total }].map((row) => [
        row.kernel,
        row.dispatches,
        row.megabytes,
        row.gflop,
        row.ms,
        100 * row.ms / total.ms,
        row.limit,
      ]),
    );
  return [
    table("kernel of a step", step),
    ...lora_step === undefined ? [] : [table("kernel of a LoRA step", lora_step)],
    `counted, not timed: what a hardware adapter would run, at ${bandwidth} GB/s, ${tflops} TFLOP/s\n` +
    `and ${launchUs} µs a dispatch at least\n`,
  ];
}

function deviceLines(
  {
    device,
    load,
    model,
    parameters,
    reps,
    clock,
    precision,
    optimizer,
    base,
    checkpointing,
    against,
    ...found
  }: BenchReport,
): string[] {
  const { step, decode, grpo_step, ops } = found;
  const products = device.blas === null
    ? device.blas_missing === null ? "" : `, our own products (${device.blas_missing})`
    : "";
  const isTimed = [step, decode, grpo_step, ops].some((result) => result !== undefined);
  const counted = clock === "cpu" ? "processor seconds of all threads" : "seconds that pass";
  const times = isTimed ? `; median of ${reps}, ${counted}` : "";
  const busy = load.before === null
    ? ""
    : `; load ${load.before.toFixed(1)} before, ${(load.after ?? 0).toFixed(1)} after`;
  return [
    `backend ${device.reason}${products}`,
    `machine ${device.cpu ?? device.system}, ${device.cores} cores${busy}; Deno ${device.deno}`,
    `model   ${model}, ${
      parameters.toLocaleString("en-US")
    } parameters, ${precision}, ${optimizer}${times}`,
    ...step === undefined ? [] : [
      `frozen  weights of the LoRA step in ${base}${
        checkpointing ? ", gradient checkpointing" : ""
      }`,
    ],
    ...against === null ? [] : [`against ${against}`],
  ];
}

/** The report as lines of text. */
export function formatBenchReport(report: BenchReport): string {
  const parts = [deviceLines(report).join("\n") + "\n"];
  const { step, decode, grpo_step, ops, memory, kernels } = report;
  if (ops) {
    const head = ["op", "shape"].map((header) => ({ header }));
    parts.push(formatTable(
      [
        ...head,
        ...["fused", "composite", "with backward", "composite", "times", "GFLOP/s", "of rate, %"]
          .map(right),
      ],
      ops.ops.map((row) => [
        row.op,
        row.shape,
        row.fused_ms,
        row.composite_ms,
        row.fused_both_ms,
        row.composite_both_ms,
        row.speedup,
        row.gflops,
        row.share === null ? null : 100 * row.share,
      ]),
      130,
    ));
    const products = report.device.backend === "webgpu" ? "stock tfjs's" : "those of the backend";
    const { gflops, copy_bytes_per_s } = ops.rates;
    parts.push(
      `times in milliseconds; the composite's products are ${products}; of rate: of the fastest\n` +
        `product below, ${gflops.toPrecision(3)} GFLOP/s, or of a large copy, ` +
        `${(copy_bytes_per_s / 1e9).toPrecision(3)} GB/s (a small tensor's cache may be faster)\n`,
    );
    parts.push(formatTable(
      [{ header: "product M, N, K" }, right("GFLOP/s"), right("of its gradient")],
      ops.products.map((row) => [row.size, row.gflops, row.gflops_backward]),
    ));
  }
  if (step) parts.push(workTable("step", step));
  if (decode) parts.push(workTable("decode", decode));
  if (grpo_step) parts.push(workTable("GRPO step, 8 completions", grpo_step));
  if (memory) {
    parts.push(formatTable(
      [
        { header: "growing" },
        ...["tokens", "vocabulary", "weights", "gradients", "in a step", "activations", "process"]
          .map(right),
      ],
      memory.map((row) => [
        row.over,
        row.tokens,
        row.vocabulary,
        row.weights_mib,
        row.gradients_mib,
        row.step_mib,
        row.activations_mib,
        row.process_mib,
      ]),
    ));
    parts.push("mebibytes; in a step: the most that tensors hold beyond weights and moments\n");
    parts.push(memoryPlot(memory));
  }
  if (kernels) parts.push(...kernelTables(kernels));
  return parts.join("\n");
}
