/**
 * Each fused op against its composite, and the rate of matrix products.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import {
  adamw,
  adamwComposite,
  type AdamWSlot,
  type AdamWUpdate,
  type Moment,
} from "../ops/optimizer.ts";
import { valueAndGradients } from "../ops/tape/backward.ts";
import { linear } from "../ops/linear.ts";
import { createState, disposeState } from "../ops/updates/state_array.ts";
import { withoutGpuKernels } from "../ops/webgpu/runtime/enabled.ts";
import type { BenchDims } from "./bench_work.ts";
import type { OpCase } from "./op_case.ts";
import { opCases } from "./op_cases.ts";
import { timed, type TimingOptions } from "./timing.ts";

/**
 * Milliseconds of an op. Where a backend has no kernel of ours both are the composite. On webgpu the
 * composite is stock tfjs's, products included.
 */
export interface OpRow {
  readonly op: string;
  readonly shape: string;
  readonly fused_ms: number;
  readonly composite_ms: number;
  /** Forward and backward; null if the op has no gradient. */
  readonly fused_both_ms: number | null;
  readonly composite_both_ms: number | null;
  /** Composite over fused, of forward and backward if there is one: the factor of speed. */
  readonly speedup: number;
  /** Of the fused forward pass; null if products do not determine its time. */
  readonly gflops: number | null;
  /** Of the machine's rate, that of the fused forward pass: see {@linkcode MachineRates}. */
  readonly share: number | null;
}

/** What the backend reaches here: the measure of what an op could. */
export interface MachineRates {
  /** Of the fastest product. */
  readonly gflops: number;
  /** Bytes read and written a second by a copy of a large tensor. */
  readonly copy_bytes_per_s: number;
}

/** Rate of a product x Wᵀ, and of the two products of its gradient. */
export interface ProductRow {
  /** M, N, K: rows, outputs, inputs. */
  readonly size: string;
  readonly gflops: number;
  readonly gflops_backward: number;
}

const SAMPLE_SECONDS = 0.03;

/** Sizes of products: square, tall, of a decode step. */
const PRODUCTS: readonly (readonly [number, number, number])[] = [
  [1024, 1024, 1024],
  [2048, 256, 256],
  [64, 576, 576],
  [16, 576, 1536],
  [1, 576, 1536],
];

/** Forward and backward; the gradients are freed. */
function forwardBackward(op: OpCase["fused"], inputs: tf.Tensor[]): tf.Tensor {
  const { value, gradients } = valueAndGradients(() => op(inputs), inputs);
  const found = gradients.filter((gradient) => gradient !== null);
  const last = found.pop()!;
  tf.dispose([value, ...found]);
  return last;
}

/** How near a forward pass of so many milliseconds comes to the machine's rate. */
function shareOf(
  { flops, bytes }: Pick<OpCase, "flops" | "bytes">,
  milliseconds: number,
  rates: MachineRates,
): number | null {
  if (flops !== null) return flops / milliseconds / 1e6 / rates.gflops;
  return bytes === undefined ? null : bytes / milliseconds * 1e3 / rates.copy_bytes_per_s;
}

async function measureOp(
  op: OpCase,
  rates: MachineRates,
  options: TimingOptions,
): Promise<OpRow> {
  const inputs = tf.tidy(() => op.inputs());
  const milliseconds = async (run: OpCase["fused"]) => {
    const forward = await timed(() => tf.tidy(() => run(inputs)), options);
    if (!op.differentiable) return [1000 * forward.median, null] as const;
    const both = await timed(() => forwardBackward(run, inputs), options);
    return [1000 * forward.median, 1000 * both.median] as const;
  };
  const [fused, fusedBoth] = await milliseconds(op.fused);
  const [composite, compositeBoth] = await withoutGpuKernels(() => milliseconds(op.composite));
  tf.dispose(inputs);
  op.dispose?.();
  return {
    op: op.name,
    shape: op.shape,
    fused_ms: fused,
    composite_ms: composite,
    fused_both_ms: fusedBoth,
    composite_both_ms: compositeBoth,
    speedup: (compositeBoth ?? composite) / (fusedBoth ?? fused),
    gflops: op.flops === null ? null : op.flops / fused / 1e6,
    share: shareOf(op, fused, rates),
  };
}

/** An update of one matrix, moments in the memory that the backend wants against moments on the device. */
async function measureAdamW(
  [rows, columns]: readonly [number, number],
  rates: MachineRates,
  options: TimingOptions,
): Promise<OpRow> {
  const zeros = () => tf.tidy(() => tf.variable(tf.zeros([rows, columns]), false));
  const parameter = zeros();
  const gradient = tf.ones([rows, columns]);
  const numbers = {
    ...{ beta1: 0.9, beta2: 0.999, eps: 1e-8, step: 1, gradientScale: 0.5 },
    ...{ learningRate: 1e-4, weightDecay: 0.01 },
  };
  const moment = () => createState({ shape: parameter.shape, dtype: "float32" }) as Moment;
  const own = (): AdamWSlot => ({ parameter, firstMoment: moment(), secondMoment: moment() });
  const beside = (): AdamWSlot => ({
    parameter,
    firstMoment: zeros(),
    secondMoment: zeros(),
  });
  const measure = async (
    slot: AdamWSlot,
    run: (update: AdamWUpdate) => void,
  ): Promise<number> => {
    const { median } = await timed(() => {
      run({ ...slot, gradient, numbers });
      return parameter.clone();
    }, options);
    disposeState(slot.firstMoment);
    disposeState(slot.secondMoment);
    return 1000 * median;
  };
  const fused = await measure(own(), (update) => adamw([update]));
  const composite = await withoutGpuKernels(() => measure(beside(), adamwComposite));
  parameter.dispose();
  gradient.dispose();
  return {
    op: "adamw",
    shape: `${rows}×${columns}`,
    fused_ms: fused,
    composite_ms: composite,
    fused_both_ms: null,
    composite_both_ms: null,
    speedup: composite / fused,
    gflops: null,
    // Reads parameter, gradient and moments, writes all but the gradient.
    share: shareOf({ flops: null, bytes: 28 * rows * columns }, fused, rates),
  };
}

/** Times of every fused op on the current backend. */
export async function benchOps(
  dims: BenchDims,
  rates: MachineRates,
  given: TimingOptions,
): Promise<OpRow[]> {
  const options = { ...given, sampleSeconds: SAMPLE_SECONDS };
  const rows: OpRow[] = [];
  for (const op of opCases(dims)) rows.push(await measureOp(op, rates, options));
  const { lm_hidden_dim, lm_inter_dim } = dims.config;
  rows.push(await measureAdamW([8 * lm_inter_dim, lm_hidden_dim], rates, options));
  return rows;
}

/** Floats of what is copied: 32 MiB, more than most caches hold. */
const COPIED = 2 ** 23;

/** The rates that ops are held to. @param products measured in the same run */
export async function machineRates(
  products: readonly ProductRow[],
  given: TimingOptions,
): Promise<MachineRates> {
  const half = tf.randomNormal([COPIED / 2]);
  const options = { ...given, sampleSeconds: SAMPLE_SECONDS };
  const { median } = await timed(() => tf.concat1d([half, half] as tf.Tensor1D[]), options);
  half.dispose();
  return {
    gflops: Math.max(...products.map(({ gflops }) => gflops)),
    copy_bytes_per_s: 8 * COPIED / median,
  };
}

/** Rates of matrix products on the current backend. */
export async function benchProducts(given: TimingOptions): Promise<ProductRow[]> {
  const options = { ...given, sampleSeconds: SAMPLE_SECONDS };
  const rows: ProductRow[] = [];
  for (const [M, N, K] of PRODUCTS) {
    const x = tf.randomNormal([M, K]), w = tf.randomNormal([N, K]);
    const forward = (await timed(() => tf.tidy(() => linear(x, w)), options)).median;
    const op = ([x, w]: tf.Tensor[]) => linear(x, w);
    const both = (await timed(() => forwardBackward(op, [x, w]), options)).median;
    const flops = 2 * M * N * K;
    rows.push({
      size: `${M}, ${N}, ${K}`,
      gflops: flops / forward / 1e9,
      // On a busy machine both together may take less than the one alone did.
      gflops_backward: 2 * flops / Math.max(both - forward, both / 100) / 1e9,
    });
    tf.dispose([x, w]);
  }
  return rows;
}
