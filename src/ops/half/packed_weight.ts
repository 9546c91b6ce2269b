/**
 * A frozen weight in fewer bits than float32. Products, the embedding and the head widen it as they
 * read it. It has no gradient.
 *
 * In the 16-bit format of its file (float16 or bfloat16) nothing is rounded. Two numbers share an
 * int32 word, the first in the lower half: the bytes of the file. `Q8` is rounded to 8 bits
 * (`eight_bits.ts`).
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { elementCount } from "../../element_count.ts";
import { dequantize, Q8_NUMBERS, Q8_WORDS } from "./eight_bits.ts";
import { bfloat16ToFloat32, float16ToFloat32 } from "./half_precision.ts";
import type { HalfFormat } from "./precision.ts";

/** The 16-bit formats by safetensors' names. */
export type HalfFileFormat = "BF16" | "F16";

/** How a frozen weight is kept. */
export type PackedFormat = HalfFileFormat | "Q8";

/** Formats of 16-bit passes by their names in files. */
export const PACKED_FORMATS: Readonly<Record<HalfFormat, HalfFileFormat>> = {
  bf16: "BF16",
  fp16: "F16",
};

/** 16-bit words to the int32 words that share them; an odd last one has zeros above. */
export function joinHalves(bits: Uint16Array): Int32Array {
  const words = new Int32Array(Math.ceil(bits.length / 2));
  new Uint16Array(words.buffer).set(bits);
  return words;
}

/** The same memory as int32 words, if it can be read so; else a copy. */
function joined(bits: Uint16Array): Int32Array {
  const isAligned = bits.byteOffset % 4 === 0 && bits.length % 2 === 0;
  // Of the backends, wasm alone copies what a tensor is made of at once.
  if (!isAligned || tf.getBackend() !== "wasm") return joinHalves(bits);
  return new Int32Array(bits.buffer, bits.byteOffset, bits.length / 2);
}

/** 16-bit words that a weight needs. */
export function packedWords(format: PackedFormat, size: number): number {
  return format === "Q8" ? size / Q8_NUMBERS * Q8_WORDS : size;
}

/** A weight in 16 or 8 bits on the current backend. */
export class PackedWeight {
  readonly #words: tf.Variable;

  /**
   * @param bits row-major, as the file has them, or as `quantize()` makes them
   * @param format how to read them
   * @param shape dims of the weight
   * @throws {Error} if the number of bits does not match the shape
   */
  constructor(
    bits: Uint16Array,
    readonly format: PackedFormat,
    readonly shape: readonly number[],
  ) {
    const words = packedWords(format, elementCount(shape));
    if (bits.length !== words) {
      throw new Error(
        `Cannot pack a weight [${shape}]: it has ${bits.length} words, the shape needs ${words}`,
      );
    }
    // A variable that is not trained: kept, and no backward pass asks for its gradient.
    this.#words = tf.tidy(() => tf.variable(tf.tensor1d(joined(bits), "int32"), false));
  }

  /** Numbers in the weight. */
  get size(): number {
    return elementCount(this.shape);
  }

  /** The bits, int32, two 16-bit words in each; the weight's own. */
  get words(): tf.Tensor {
    return this.#words;
  }

  /** Bytes on the device. */
  get byteLength(): number {
    return 4 * this.#words.size;
  }

  /** The bits as they were given, copied to the host. */
  async bits(): Promise<Uint16Array> {
    const words = await this.#words.data();
    return new Uint16Array(words.buffer, words.byteOffset, packedWords(this.format, this.size))
      .slice();
  }

  /** The numbers as float32, copied to the host. */
  async floats(): Promise<Float32Array> {
    return widenBits(await this.bits(), this.format);
  }

  /** Frees the bits. */
  dispose(): void {
    this.#words.dispose();
  }
}

/** A weight as an op takes it: trained or not in float32, or frozen in fewer bits. */
export type Weight = tf.Tensor | PackedWeight;

/** Packed numbers as float32, on the host; exact. */
export function widenBits(bits: Uint16Array, format: PackedFormat): Float32Array {
  if (format === "Q8") return dequantize(bits);
  return format === "BF16" ? bfloat16ToFloat32(bits) : float16ToFloat32(bits);
}

/**
 * Whether weights that are only read should stay in that format on the current backend: if a kernel
 * multiplies with it as fast as with float32. Otherwise they would be widened for each product,
 * which costs more than it saves when a model decodes.
 */
export function readsPackedFast(format: PackedFormat): boolean {
  return format === "BF16" && tf.getBackend() === "wasm";
}
