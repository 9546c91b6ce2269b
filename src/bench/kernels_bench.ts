/**
 * The kernels of a training step on a hardware adapter, counted without one, and the time that
 * arithmetic gives them: each dispatch takes as long as its bytes, its operations or its launch,
 * whichever is longest.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { CountedDispatch } from "../ops/webgpu/runtime/dispatch_counts.ts";
import type { OptimizerName } from "../config/schema/optimizer/optimizer_names.ts";
import type { Precision } from "../ops/half/precision.ts";
import { currentLaunch } from "../ops/webgpu/runtime/launch.ts";
import { type BenchDims, benchModel } from "./bench_work.ts";
import { addBenchLora, StepWork } from "./step_bench.ts";

/** What a GPU is taken to reach. */
export interface GpuRates {
  /** GB/s of its memory. */
  readonly bandwidth: number;
  /** TFLOP/s in float32. */
  readonly tflops: number;
  /** Microseconds that a dispatch takes at least. */
  readonly launchUs: number;
}

/** A GeForce RTX 4070 by its data sheet, and a launch of 5 µs. */
export const TYPICAL_GPU: GpuRates = { bandwidth: 504, tflops: 29.1, launchUs: 5 };

/** What a dispatch takes longest for. */
export type Limit = "bandwidth" | "arithmetic" | "launch";

/** All dispatches of one kernel. */
export interface KernelRow {
  /** Without the types and sizes that its shader is made for; tfjs's own begin with `tfjs`. */
  readonly kernel: string;
  readonly dispatches: number;
  /** 10^6 bytes that it reads and writes, each operand once. */
  readonly megabytes: number;
  readonly gflop: number;
  /** Milliseconds by the rates. */
  readonly ms: number;
  /** What takes most of that time. */
  readonly limit: Limit;
}

/** A step's kernels. */
export interface StepKernels {
  /** The longest first. */
  readonly rows: readonly KernelRow[];
  readonly total: Omit<KernelRow, "kernel">;
}

/** What `bench kernels` finds. */
export interface KernelsResult extends GpuRates {
  readonly step: StepKernels;
  /** Of a step that trains LoRA adapters on frozen weights in bfloat16. */
  readonly lora_step?: StepKernels;
}

/** A program's name without its types and sizes. */
function kernelName(name: string): string {
  const said = name.split(" ").filter((word) =>
    !/^(vec4<f32>|f32|texture|tiles|D?\d+)$/.test(word)
  );
  return said.join(" ");
}

/** Milliseconds of one dispatch, by what takes it. */
function timesOf({ bytes, flops }: CountedDispatch, rates: GpuRates): Record<Limit, number> {
  return {
    bandwidth: bytes / rates.bandwidth / 1e6,
    arithmetic: flops / rates.tflops / 1e9,
    launch: rates.launchUs / 1e3,
  };
}

function sumUp(
  dispatches: readonly CountedDispatch[],
  rates: GpuRates,
): Omit<KernelRow, "kernel"> {
  const share: Record<Limit, number> = { bandwidth: 0, arithmetic: 0, launch: 0 };
  const limits = Object.keys(share) as Limit[];
  let bytes = 0, flops = 0;
  for (const dispatch of dispatches) {
    const times = timesOf(dispatch, rates);
    const limit = limits.reduce((most, one) => times[one] > times[most] ? one : most);
    share[limit] += times[limit];
    bytes += dispatch.bytes;
    flops += dispatch.flops;
  }
  return {
    dispatches: dispatches.length,
    megabytes: bytes / 1e6,
    gflop: flops / 1e9,
    ms: share.bandwidth + share.arithmetic + share.launch,
    limit: limits.reduce((most, one) => share[one] > share[most] ? one : most),
  };
}

/** Dispatches by kernel, with the time that the rates give them. */
export function kernelTable(
  dispatches: readonly CountedDispatch[],
  rates: GpuRates,
): StepKernels {
  const byKernel = Map.groupBy(dispatches, ({ kernel }) => kernelName(kernel));
  const rows = [...byKernel].map(([kernel, of]) => ({ kernel, ...sumUp(of, rates) }));
  return { rows: rows.sort((a, b) => b.ms - a.ms), total: sumUp(dispatches, rates) };
}

/** Which step is counted. */
export interface CountedStep {
  /** Count a step that trains LoRA adapters too. */
  readonly lora: boolean;
  /** Of the passes; default: float32. */
  readonly precision?: Precision;
  /** Default: AdamW. */
  readonly optimizer?: OptimizerName;
}

async function countStep(
  dims: BenchDims,
  { lora, precision = "float32", optimizer }: CountedStep,
): Promise<readonly CountedDispatch[]> {
  const model = benchModel(dims, lora ? "BF16" : undefined);
  model.precision = precision;
  if (lora) await addBenchLora(model);
  const work = new StepWork(model, dims, optimizer);
  const launch = currentLaunch();
  // What a first step alone does (weights put on the device, masks) is not counted.
  launch.startCounting({ asHardware: true });
  try {
    (await work.step()).dispose();
    launch.startCounting({ asHardware: true });
    (await work.step()).dispose();
    return launch.stopCounting();
  } finally {
    launch.stopCounting();
    work.dispose();
    model.dispose();
  }
}

/**
 * Counts what a training step dispatches. Runs on any adapter, a software one too, and computes
 * nothing there.
 *
 * @throws {Error} if the backend is not webgpu
 */
export async function benchKernels(
  dims: BenchDims,
  rates: GpuRates,
  counted: CountedStep,
): Promise<KernelsResult> {
  if (tf.getBackend() !== "webgpu") {
    throw new Error(
      `Cannot count the kernels of a GPU on the ${tf.getBackend()} backend; use --backend webgpu ` +
        "(a software adapter will do)",
    );
  }
  const step = kernelTable(await countStep(dims, { ...counted, lora: false }), rates);
  const { bandwidth, tflops, launchUs } = rates;
  const result = { bandwidth, tflops, launchUs, step };
  if (!counted.lora) return result;
  return { ...result, lora_step: kernelTable(await countStep(dims, counted), rates) };
}
