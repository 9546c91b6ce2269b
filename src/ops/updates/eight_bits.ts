/**
 * Updates with state in 8 bits: blocks of 256 numbers with a scale each (Dettmers et al., "8-bit
 * optimizers via block-wise quantization", 2022, arXiv 2110.02861), as bitsandbytes does them. A block
 * is widened to float32, updated as in 32 bits, and rounded to the nearest codes.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { updateKernels } from "../fused_kernels.ts";
import type { AdamWStep } from "../kernels.ts";
import { BLOCK_SIZE, type Codebook, codebook } from "./dynamic_map.ts";
import { changeValues, hostValues } from "./host_values.ts";
import { lionNumbers, type LionStep, lionValues } from "./lion.ts";
import { isOnHost, type StateArray } from "./state_array.ts";

/** A state in 8 bits. */
export interface PackedState {
  /** Codes of the dynamic map, as many as the parameter has values. */
  readonly codes: StateArray;
  /** The largest magnitude of each block. */
  readonly scales: StateArray;
}

/** The update of one parameter. */
export interface PackedUpdate<Step> {
  readonly parameter: tf.Variable;
  /** Of the parameter's shape. */
  readonly gradient: tf.Tensor;
  /** Signed: a mean of gradients. */
  readonly first: PackedState;
  /** Not signed: a mean of squares; AdamW's alone. */
  readonly second?: PackedState;
  readonly numbers: Step;
}

/** AdamW on the host in 32 bits; writes into `w`, `m` and `v`. */
function adamWValues(
  { w, g, m, v }: Readonly<Record<"w" | "g" | "m" | "v", Float32Array>>,
  step: AdamWStep,
): void {
  const { keep, rate, beta1, fresh1, beta2, fresh2, correction, eps, scale } = adamWNumbers(step);
  for (let i = 0; i < w.length; i++) {
    const gradient = g[i] * scale;
    const mean = m[i] = beta1 * m[i] + fresh1 * gradient;
    const square = v[i] = beta2 * v[i] + fresh2 * gradient * gradient;
    w[i] = w[i] * keep - rate * mean / (Math.sqrt(square) * correction + eps);
  }
}

function adamWNumbers(numbers: AdamWStep): Record<string, number> {
  const { learningRate, weightDecay, beta1, beta2, eps, step, gradientScale } = numbers;
  return {
    keep: 1 - learningRate * weightDecay,
    rate: learningRate / (1 - beta1 ** step),
    beta1,
    fresh1: 1 - beta1,
    beta2,
    fresh2: 1 - beta2,
    correction: 1 / Math.sqrt(1 - beta2 ** step),
    eps,
    scale: gradientScale,
  };
}

/** Widens a block of a state on the host. */
function widen(
  { codes, scales }: PackedState,
  book: Codebook,
  start: number,
  into: Float32Array,
): void {
  const scale = (scales as Float32Array)[start / BLOCK_SIZE], bytes = codes as Uint8Array;
  for (let i = 0; i < into.length; i++) into[i] = book.values[bytes[start + i]] * scale;
}

/** Rounds it again. */
function round(
  { codes, scales }: PackedState,
  book: Codebook,
  start: number,
  values: Float32Array,
): void {
  const bytes = codes as Uint8Array;
  let largest = 0;
  for (let i = 0; i < values.length; i++) largest = Math.max(largest, Math.abs(values[i]));
  (scales as Float32Array)[start / BLOCK_SIZE] = largest;
  const inverse = largest === 0 ? 0 : Math.fround(1 / largest);
  for (let i = 0; i < values.length; i++) bytes[start + i] = book.nearest(values[i] * inverse);
}

/** The update on the host, block by block. */
function onHost<Step>(
  update: PackedUpdate<Step>,
  change: (w: Float32Array, g: Float32Array, states: readonly Float32Array[]) => void,
): void {
  const { parameter, gradient, first, second } = update;
  const states = second === undefined
    ? [[first, codebook(true)] as const]
    : [[first, codebook(true)] as const, [second, codebook(false)] as const];
  const wide = states.map(() => new Float32Array(BLOCK_SIZE));
  changeValues(parameter, (w) => {
    const g = hostValues(gradient);
    for (let start = 0; start < w.length; start += BLOCK_SIZE) {
      const end = Math.min(start + BLOCK_SIZE, w.length);
      const blocks = wide.map((values) => values.subarray(0, end - start));
      states.forEach(([state, book], i) => widen(state, book, start, blocks[i]));
      change(w.subarray(start, end), g.subarray(start, end), blocks);
      states.forEach(([state, book], i) => round(state, book, start, blocks[i]));
    }
  });
}

/** AdamW with both means in 8 bits; updates in place. */
export function adamW8Bit(updates: readonly PackedUpdate<AdamWStep>[]): void {
  for (const update of updates) {
    if (isOnHost(update.first.codes)) {
      onHost(update, (w, g, [m, v]) => adamWValues({ w, g, m, v }, update.numbers));
    } else run("adamw_8bit", update, adamWNumbers(update.numbers));
  }
}

/** Lion with its momentum in 8 bits; updates in place. */
export function lion8Bit(updates: readonly PackedUpdate<LionStep>[]): void {
  for (const update of updates) {
    if (isOnHost(update.first.codes)) {
      onHost(update, (w, g, [m]) => lionValues(w, g, m, update.numbers));
    } else run("lion_8bit", update, lionNumbers(update.numbers));
  }
}

/** On the device. */
function run<Step>(
  rule: "adamw_8bit" | "lion_8bit",
  { parameter, gradient, first, second }: PackedUpdate<Step>,
  numbers: Record<string, number>,
): void {
  const states = [first, ...(second === undefined ? [] : [second])]
    .flatMap(({ codes, scales }) => [codes as tf.Variable, scales as tf.Variable]);
  updateKernels()?.inBlocks(rule, { parameter, gradient, states, numbers });
}
