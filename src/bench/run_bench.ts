/**
 * `bench`: runs the requested benchmarks on the current backend.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { compare, medians, type Ratio, runAgainst } from "./against.ts";
import {
  type BenchDims,
  benchDims,
  benchModel,
  type BenchModelName,
  parameterCount,
} from "./bench_work.ts";
import { clockNamed } from "./clock.ts";
import { benchDecode } from "./decode_bench.ts";
import { type DeviceFacts, deviceFacts, loadAverage } from "./device_facts.ts";
import { benchGrpoStep } from "./grpo_step_bench.ts";
import { benchKernels, type GpuRates, type KernelsResult } from "./kernels_bench.ts";
import { benchMemory, type MemoryRow } from "./memory_bench.ts";
import {
  benchOps,
  benchProducts,
  type MachineRates,
  machineRates,
  type OpRow,
  type ProductRow,
} from "./ops_bench.ts";
import type { OptimizerName } from "../config/schema/optimizer/optimizer_names.ts";
import type { Precision } from "../ops/half/precision.ts";
import { benchLoraStep, benchStep, type Measured, StepWork } from "./step_bench.ts";
import { withoutGpuKernels } from "../ops/webgpu/runtime/enabled.ts";
import type { TimingOptions } from "./timing.ts";

/** The benchmarks. */
export const BENCHMARKS = ["ops", "step", "decode", "grpo-step", "memory", "kernels"] as const;

/** One of {@linkcode BENCHMARKS}. */
export type BenchmarkName = typeof BENCHMARKS[number];

/** What to run. */
export interface BenchRequest {
  readonly what: readonly BenchmarkName[];
  readonly model: BenchModelName;
  /** Samples of each time. */
  readonly reps: number;
  /** How many times ours and the other program alternate. */
  readonly rounds: number;
  /** Seconds that pass, or processor seconds of all threads. */
  readonly clock: "wall" | "cpu";
  /** Of `step`, `memory` and `kernels`; default: float32. */
  readonly precision?: Precision;
  /** Also step LoRA adapters. */
  readonly lora: boolean;
  /** Of `step`: the base of the adapters is in 8 bits. */
  readonly eightBits?: boolean;
  /** Of `step`: the LoRA step computes blocks again in the backward pass. */
  readonly checkpointing?: boolean;
  /** Of `step` and `kernels`; default: AdamW. */
  readonly optimizer?: OptimizerName;
  readonly sharePrefix: boolean;
  /** A command whose numbers are compared with ours. */
  readonly against: string | null;
  /** Compares the step with the same on stock tfjs, on webgpu. */
  readonly stock: boolean;
  /** What `kernels` reckons with. */
  readonly rates: GpuRates;
  /** Called with a line when something begins. */
  readonly onProgress?: (line: string) => void;
}

/** What step, decode and grpo-step found. */
export interface WorkResult {
  /** Medians over the rounds. */
  readonly ours: Measured;
  readonly theirs: Measured | null;
  /** Ours over theirs. */
  readonly ratios: readonly Ratio[];
  readonly rounds: readonly { readonly ours: Measured; readonly theirs: Measured | null }[];
}

/** What was found, as `--json` prints it. */
export interface BenchReport {
  readonly device: DeviceFacts;
  /** Running processes over the last minute before and after, if the system tells. */
  readonly load: { readonly before: number | null; readonly after: number | null };
  readonly model: BenchModelName;
  readonly parameters: number;
  readonly reps: number;
  readonly clock: "wall" | "cpu";
  /** Of `step`, `memory` and `kernels`. */
  readonly precision: Precision;
  /** Of `step` and `kernels`. */
  readonly optimizer: OptimizerName;
  /** How `step` keeps the base of adapters: `BF16`, or `Q8` in 8 bits. */
  readonly base: "BF16" | "Q8";
  /** Whether the LoRA step of `step` computes blocks again in the backward pass. */
  readonly checkpointing: boolean;
  /** The other program, or what else ours was compared with. */
  readonly against: string | null;
  readonly step?: WorkResult;
  readonly decode?: WorkResult;
  readonly grpo_step?: WorkResult;
  readonly ops?: {
    readonly ops: readonly OpRow[];
    readonly products: readonly ProductRow[];
    readonly rates: MachineRates;
  };
  readonly memory?: readonly MemoryRow[];
  readonly kernels?: KernelsResult;
}

/** How a report names what `stock` compares with. */
const STOCK = "stock tfjs on the same adapter, in the same process";

/** @throws {Error} if our kernels cannot be switched off */
function assertStock(): void {
  if (tf.getBackend() === "webgpu") return;
  throw new Error(
    `Cannot compare with stock tfjs on the ${tf.getBackend()} backend: our kernels can be left out ` +
      "on webgpu alone; use --backend webgpu",
  );
}

/** Runs ours and the other program alternately. */
async function inTurns(
  request: BenchRequest,
  name: string,
  ours: () => Promise<Measured>,
  stock: (() => Promise<Measured>) | null = null,
): Promise<WorkResult> {
  const { against, onProgress } = request;
  const other = stock ?? (against === null ? null : () => runAgainst(against));
  const rounds: { ours: Measured; theirs: Measured | null }[] = [];
  const count = other === null ? 1 : request.rounds;
  for (let round = 1; round <= count; round++) {
    const which = count > 1 ? `, round ${round} of ${count}` : "";
    onProgress?.(`${name}: ours${which}`);
    const measured = await ours();
    if (other !== null) onProgress?.(`${name}: theirs${which}`);
    rounds.push({ ours: measured, theirs: other === null ? null : await other() });
  }
  const compared = rounds.flatMap(({ ours, theirs }) => theirs === null ? [] : [{ ours, theirs }]);
  return {
    ours: medians(rounds.map(({ ours }) => ours)),
    theirs: compared.length > 0 ? medians(compared.map(({ theirs }) => theirs)) : null,
    ratios: compare(compared),
    rounds,
  };
}

function withoutPeak({ lora_peak_mib: _, ...times }: Measured): Measured {
  return times;
}

const baseOf = ({ eightBits }: BenchRequest): "BF16" | "Q8" => eightBits ? "Q8" : "BF16";

async function stepResult(
  request: BenchRequest,
  dims: BenchDims,
  timing: TimingOptions,
): Promise<WorkResult> {
  request.onProgress?.("step: a model");
  const { precision = "float32" } = request;
  // First, since a process keeps the memory that it took for the full step: a later round tells of
  // its own times alone.
  const { checkpointing } = request;
  const which = { precision, base: baseOf(request), checkpointing };
  const loraStep = () => benchLoraStep(dims, timing, which);
  const first = request.lora ? await loraStep() : {};
  let rounds = 0;
  const lora = async (): Promise<Measured> =>
    rounds++ === 0 || !request.lora ? first : { ...first, ...withoutPeak(await loraStep()) };
  const model = benchModel(dims);
  model.precision = precision;
  const work = new StepWork(model, dims, request.optimizer);
  const ours = async () => ({ ...await benchStep(work, timing), ...await lora() });
  const stock = () => withoutGpuKernels(() => benchStep(work, timing));
  try {
    return await inTurns(request, "step", ours, request.stock ? stock : null);
  } finally {
    work.dispose();
    model.dispose();
  }
}

async function decodeResult(
  request: BenchRequest,
  dims: BenchDims,
  timing: TimingOptions,
): Promise<WorkResult> {
  request.onProgress?.("decode: a model");
  const model = benchModel(dims);
  try {
    return await inTurns(
      request,
      "decode",
      () => benchDecode(model, { ...timing, reps: Math.min(timing.reps, 3) }),
    );
  } finally {
    model.dispose();
  }
}

/**
 * Runs benchmarks on the current backend.
 *
 * @throws {Error} if no backend was started, or the other program cannot be run
 */
export async function runBench(request: BenchRequest): Promise<BenchReport> {
  const { what, reps, sharePrefix, clock, precision = "float32" } = request;
  if (request.stock) assertStock();
  const timing: TimingOptions = { reps, clock: clockNamed(clock) };
  const dims = benchDims(request.model);
  const before = loadAverage();
  const parameters = parameterCount(dims);
  const found: Partial<{ -readonly [K in keyof BenchReport]: BenchReport[K] }> = {};
  for (const name of what) {
    if (name === "step") found.step = await stepResult(request, dims, timing);
    else if (name === "decode") found.decode = await decodeResult(request, dims, timing);
    else if (name === "grpo-step") {
      found.grpo_step = await inTurns(
        request,
        name,
        () => benchGrpoStep(dims, { ...timing, sharePrefix }),
      );
    } else if (name === "ops") {
      request.onProgress?.("ops");
      const products = await benchProducts(timing);
      const rates = await machineRates(products, timing);
      found.ops = { ops: await benchOps(dims, rates, timing), products, rates };
    } else if (name === "memory") {
      request.onProgress?.("memory");
      found.memory = await benchMemory(dims, { precision });
    } else {
      request.onProgress?.("kernels");
      const { rates, lora, optimizer } = request;
      found.kernels = await benchKernels(dims, rates, { lora, precision, optimizer });
    }
  }
  return {
    device: deviceFacts(),
    load: { before, after: loadAverage() },
    model: request.model,
    parameters,
    reps,
    clock,
    precision,
    optimizer: request.optimizer ?? "adamw_torch",
    base: baseOf(request),
    checkpointing: request.checkpointing ?? false,
    against: request.stock ? STOCK : request.against,
    ...found,
  };
}
