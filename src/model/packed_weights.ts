/**
 * Weights in 16 or 8 bits on the host: as a file stores them, packed if no bit is lost, or rounded.
 *
 * @module
 */
import { float32ToBfloat16, float32ToFloat16 } from "../ops/half/half_precision.ts";
import { Q8_NUMBERS, quantize } from "../ops/half/eight_bits.ts";
import { releaseMemory } from "./release_memory.ts";
import { type HalfFileFormat, type PackedFormat, widenBits } from "../ops/half/packed_weight.ts";

/** A tensor on the host, as files hold it. */
export interface HostWeights {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** A tensor of fewer bits on the host. */
export interface PackedHostWeights {
  readonly shape: readonly number[];
  readonly format: PackedFormat;
  /** One number a word, or blocks of `Q8`. */
  readonly bits: Uint16Array;
}

/**
 * Whether a weight may stay in 16 bits: true for the matrices of linear layers, of embedding and
 * head.
 */
export function isPackable(shape: readonly number[]): boolean {
  return shape.length === 2;
}

const CHUNK = 1 << 16;

function fitsBfloat16(values: Float32Array): boolean {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  return words.every((word) => (word & 0xffff) === 0);
}

function fitsFloat16(values: Float32Array): boolean {
  for (let first = 0; first < values.length; first += CHUNK) {
    const part = values.subarray(first, first + CHUNK);
    const half = new Float16Array(part);
    if (!part.every((value, i) => Object.is(half[i], value))) return false;
  }
  return true;
}

/** The weights in 16 bits if the format holds each number exactly, else null. */
export function packExactly({ shape, data }: HostWeights): PackedHostWeights | null {
  if (!isPackable(shape)) return null;
  if (fitsBfloat16(data)) {
    const words = new Uint32Array(data.buffer, data.byteOffset, data.length);
    return { shape, format: "BF16", bits: Uint16Array.from(words, (word) => word >>> 16) };
  }
  return fitsFloat16(data) ? { shape, format: "F16", bits: float32ToFloat16(data) } : null;
}

/**
 * The weights rounded to 8 bits.
 *
 * @returns null if they are no matrix whose rows are blocks of 32 numbers, or not all finite
 */
export function packEightBits(weights: HostWeights | PackedHostWeights): PackedHostWeights | null {
  const { shape } = weights;
  if (!isPackable(shape) || shape[1] % Q8_NUMBERS !== 0) return null;
  const wide = "bits" in weights ? widenBits(weights.bits, weights.format) : weights.data;
  const bits = quantize(wide);
  if ("bits" in weights) releaseMemory(wide);
  return bits && { shape, format: "Q8", bits };
}

/** The weights rounded to 16 bits; null if one is too large for the format. */
export function packRounded(
  { shape, data }: HostWeights,
  format: HalfFileFormat,
): PackedHostWeights | null {
  if (!isPackable(shape)) return null;
  const bits = format === "BF16" ? float32ToBfloat16(data) : float32ToFloat16(data);
  const infinity = format === "BF16" ? 0x7f80 : 0x7c00;
  const overflows = bits.some((half, i) =>
    (half & 0x7fff) === infinity && Number.isFinite(data[i])
  );
  return overflows ? null : { shape, format, bits };
}
