/**
 * Activations: tanh-GELU, SwiGLU and dropout.
 *
 * - GELU is the tanh approximation, x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³))) (Hendrycks and
 *   Gimpel, 2016; torch's `GELU(approximate="tanh")`).
 * - SwiGLU is the gate of a feed-forward layer, silu(gate) · up with silu(x) = x σ(x) (Shazeer,
 *   2020).
 * - Dropout draws its mask from a counter, so that the mask depends on the seed, the step and the
 *   place alone: a resumed run and a run on another backend drop the same values.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { fusedKernels } from "./fused_kernels.ts";
import { halfGelu, halfSwiglu } from "./half/half_activations.ts";
import { halfFormat } from "./half/precision.ts";

const SQRT_2_OVER_PI = Math.sqrt(2 / Math.PI);
const CUBIC = 0.044715;

/**
 * The plain composite.
 *
 * @param x any shape
 * @returns the same shape
 */
export function geluComposite(x: tf.Tensor): tf.Tensor {
  const inner = x.mul(x.square().mul(CUBIC).add(1)).mul(SQRT_2_OVER_PI);
  return x.mul(inner.tanh().add(1)).mul(0.5);
}

/**
 * tanh-GELU; in a 16-bit pass of a rounded x, which is kept in 16 bits.
 *
 * @param x any shape
 * @returns the same shape
 */
export function gelu(x: tf.Tensor): tf.Tensor {
  const half = halfFormat();
  if (half !== null) return halfGelu(half, x, gelu);
  return fusedKernels()?.gelu(x) ?? geluComposite(x);
}

/**
 * The plain composite.
 *
 * @param gate any shape
 * @param up the same shape
 * @returns the same shape
 */
export function swigluComposite(gate: tf.Tensor, up: tf.Tensor): tf.Tensor {
  return gate.mul(gate.sigmoid()).mul(up);
}

/**
 * silu(gate) · up; in a 16-bit pass of rounded gate and up, rounded as `precision.ts` says.
 *
 * @param gate any shape
 * @param up the same shape
 * @returns the same shape
 */
export function swiglu(gate: tf.Tensor, up: tf.Tensor): tf.Tensor {
  const half = halfFormat();
  if (half !== null) return halfSwiglu(half, gate, up);
  return fusedKernels()?.swiglu(gate, up) ?? swigluComposite(gate, up);
}

/** Mixes a 32-bit word (the finaliser of PCG's RXS-M-XS output function; O'Neill, 2014). */
function mix(word: number): number {
  const state = (Math.imul(word, 747796405) + 2891336453) >>> 0;
  const shifted = ((state >>> ((state >>> 28) + 4)) ^ state) >>> 0;
  const product = Math.imul(shifted, 277803737) >>> 0;
  return ((product >>> 22) ^ product) >>> 0;
}

/** Gives each place of a forward pass its own dropout key; the same order gives the same keys. */
export class DropoutKeys {
  #next: number;

  /** @param seed of the run @param microStep number of the forward pass in the run */
  constructor(seed: number, microStep: number) {
    this.#next = mix((mix(seed >>> 0) ^ Math.imul(microStep, 0x9e3779b9)) >>> 0);
  }

  /** The key of the next place. */
  next(): number {
    this.#next = mix((this.#next + 0x6d2b79f5) >>> 0);
    return this.#next;
  }

  /** A copy that gives the same keys from here on. */
  copy(): DropoutKeys {
    const copy = new DropoutKeys(0, 0);
    copy.#next = this.#next;
    return copy;
  }
}

/**
 * Uniform numbers that depend on the key and their places alone.
 *
 * @param count how many
 * @param key from {@linkcode DropoutKeys}
 * @returns of −1 … 1
 */
export function uniformNoise(count: number, key: number): Float32Array {
  const noise = new Float32Array(count);
  for (let i = 0; i < count; i++) noise[i] = mix((i ^ key) >>> 0) / 2 ** 31 - 1;
  return noise;
}

/**
 * Zeros each value with probability `rate` and divides the rest by 1 − rate.
 *
 * @param x any shape
 * @param rate in [0, 1)
 * @param key from {@linkcode DropoutKeys}
 * @returns the same shape
 */
export function dropout(x: tf.Tensor, rate: number, key: number): tf.Tensor {
  if (rate === 0) return x;
  return fusedKernels()?.dropout(x, rate, key) ?? dropoutComposite(x, rate, key);
}

/** The plain composite of {@linkcode dropout}: the mask is made on the host. */
export function dropoutComposite(x: tf.Tensor, rate: number, key: number): tf.Tensor {
  const threshold = rate * 2 ** 32;
  const keep = 1 / (1 - rate);
  const mask = new Float32Array(x.size);
  for (let i = 0; i < mask.length; i++) mask[i] = mix((i ^ key) >>> 0) < threshold ? 0 : keep;
  return x.mul(tf.tensor(mask, x.shape));
}
