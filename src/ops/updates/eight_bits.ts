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
import { lionNumbers, type LionStep, signOf } from "./lion.ts";
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

/** A state on the host, and one block of it in float32. */
class WideState {
  readonly values: Float32Array = new Float32Array(BLOCK_SIZE);
  readonly #codes: Uint8Array;
  readonly #scales: Float32Array;
  readonly #book: Codebook;

  constructor({ codes, scales }: PackedState, signed: boolean) {
    this.#codes = codes as Uint8Array;
    this.#scales = scales as Float32Array;
    this.#book = codebook(signed);
  }

  /** Widens the `count` values from `start` on, which is where a block begins. */
  read(start: number, count: number): void {
    const { values } = this, codes = this.#codes, map = this.#book.values;
    const scale = this.#scales[start / BLOCK_SIZE];
    for (let i = 0; i < count; i++) values[i] = map[codes[start + i]] * scale;
  }

  /** Rounds them again. */
  write(start: number, count: number): void {
    const { values } = this;
    let largest = 0;
    for (let i = 0; i < count; i++) {
      const magnitude = Math.abs(values[i]);
      if (magnitude > largest) largest = magnitude;
    }
    this.#scales[start / BLOCK_SIZE] = largest;
    const inverse = largest === 0 ? 0 : Math.fround(1 / largest);
    this.#book.round(values, inverse, this.#codes, { start, count });
  }
}

/** The values of a block of a parameter, and its gradient. */
interface Block {
  readonly w: Float32Array;
  readonly g: Float32Array;
  readonly start: number;
  readonly count: number;
}

/** Changes a parameter and its states on the host, block by block. */
function onHost(
  { parameter, gradient }: Pick<PackedUpdate<unknown>, "parameter" | "gradient">,
  states: readonly WideState[],
  change: (block: Block) => void,
): void {
  changeValues(parameter, (w) => {
    const g = hostValues(gradient);
    for (let start = 0; start < w.length; start += BLOCK_SIZE) {
      const count = Math.min(BLOCK_SIZE, w.length - start);
      for (const state of states) state.read(start, count);
      change({ w, g, start, count });
      for (const state of states) state.write(start, count);
    }
  });
}

function adamWOnHost(update: PackedUpdate<AdamWStep>): void {
  const numbers = adamWNumbers(update.numbers);
  const { keep, rate, beta1, fresh1, beta2, fresh2, correction, eps, scale } = numbers;
  const first = new WideState(update.first, true), second = new WideState(update.second!, false);
  const m = first.values, v = second.values;
  onHost(update, [first, second], ({ w, g, start, count }) => {
    for (let i = 0; i < count; i++) {
      const gradient = g[start + i] * scale;
      const mean = m[i] = beta1 * m[i] + fresh1 * gradient;
      const square = v[i] = beta2 * v[i] + fresh2 * gradient * gradient;
      w[start + i] = w[start + i] * keep -
        rate * mean / (Math.sqrt(square) * correction + eps);
    }
  });
}

function lionOnHost(update: PackedUpdate<LionStep>): void {
  const { keep, rate, beta1, fresh1, beta2, fresh2, scale } = lionNumbers(update.numbers);
  const first = new WideState(update.first, true);
  const m = first.values;
  onHost(update, [first], ({ w, g, start, count }) => {
    for (let i = 0; i < count; i++) {
      const gradient = g[start + i] * scale;
      w[start + i] = w[start + i] * keep - rate * signOf(beta1 * m[i] + fresh1 * gradient);
      m[i] = beta2 * m[i] + fresh2 * gradient;
    }
  });
}

/** AdamW with both means in 8 bits; updates in place. */
export function adamW8Bit(updates: readonly PackedUpdate<AdamWStep>[]): void {
  for (const update of updates) {
    if (isOnHost(update.first.codes)) adamWOnHost(update);
    else run("adamw_8bit", update, adamWNumbers(update.numbers));
  }
}

/** Lion with its momentum in 8 bits; updates in place. */
export function lion8Bit(updates: readonly PackedUpdate<LionStep>[]): void {
  for (const update of updates) {
    if (isOnHost(update.first.codes)) lionOnHost(update);
    else run("lion_8bit", update, lionNumbers(update.numbers));
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
