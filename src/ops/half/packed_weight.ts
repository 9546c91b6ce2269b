/**
 * A frozen weight in the 16-bit format of its file (float16 or bfloat16), in half the memory of
 * float32. Products, the embedding and the head widen it as they read it; nothing is rounded. It has
 * no gradient.
 *
 * Two numbers share an int32 word, the first in the lower half: the bytes of the file.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { elementCount } from "../../element_count.ts";
import { bfloat16ToFloat32, float16ToFloat32 } from "./half_precision.ts";
import type { HalfFormat } from "./precision.ts";

/** The 16-bit formats by safetensors' names. */
export type PackedFormat = "BF16" | "F16";

/** Formats of 16-bit passes by their names in files. */
export const PACKED_FORMATS: Readonly<Record<HalfFormat, PackedFormat>> = {
  bf16: "BF16",
  fp16: "F16",
};

/** 16-bit words to the int32 words that share them; an odd last one has zeros above. */
export function joinHalves(bits: Uint16Array): Int32Array {
  const words = new Int32Array(Math.ceil(bits.length / 2));
  new Uint16Array(words.buffer).set(bits);
  return words;
}

/** A weight in 16 bits on the current backend. */
export class PackedWeight {
  readonly #words: tf.Variable;

  /**
   * @param bits row-major, as the file has them
   * @param format how to read them
   * @param shape dims of the weight
   * @throws {Error} if the number of bits does not match the shape
   */
  constructor(
    bits: Uint16Array,
    readonly format: PackedFormat,
    readonly shape: readonly number[],
  ) {
    const size = elementCount(shape);
    if (bits.length !== size) {
      throw new Error(
        `Cannot pack a weight [${shape}]: it has ${bits.length} numbers, the shape needs ${size}.`,
      );
    }
    // A variable that is not trained: kept, and no backward pass asks for its gradient.
    this.#words = tf.tidy(() => tf.variable(tf.tensor1d(joinHalves(bits), "int32"), false));
  }

  /** Numbers in the weight. */
  get size(): number {
    return elementCount(this.shape);
  }

  /** The bits, int32 [⌈size / 2⌉]; the weight's own. */
  get words(): tf.Tensor {
    return this.#words;
  }

  /** Bytes on the device. */
  get byteLength(): number {
    return 4 * this.#words.size;
  }

  /** The bits as the file had them, copied to the host. */
  async bits(): Promise<Uint16Array> {
    const words = await this.#words.data();
    return new Uint16Array(words.buffer, words.byteOffset, this.size).slice();
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

/** A weight as an op takes it: trained or not in float32, or frozen in 16 bits. */
export type Weight = tf.Tensor | PackedWeight;

/** 16-bit numbers as float32, on the host; exact. */
export function widenBits(bits: Uint16Array, format: PackedFormat): Float32Array {
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
