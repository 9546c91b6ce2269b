/**
 * The dynamic data type of 8 bits: a sign, an exponent in front whose length varies, and a fraction
 * of what is left (Dettmers, "8-bit approximations for parallelism in deep learning", 2015, arXiv
 * 1511.04561; Dettmers et al., "8-bit optimizers via block-wise quantization", 2022, arXiv
 * 2110.02861, section 2.2), as bitsandbytes' `create_dynamic_map` makes it.
 *
 * @module
 */

/** Numbers that share a scale. */
export const BLOCK_SIZE = 256;

const { fround } = Math;

/** torch.linspace(0.1, 1, count) in float32, with fused multiply-adds. */
function boundaries(count: number): number[] {
  const start = fround(0.1), step = fround(fround(1 - start) / (count - 1));
  return Array.from(
    { length: count },
    (_, i) =>
      i < Math.floor(count / 2) ? fround(start + step * i) : fround(1 - step * (count - 1 - i)),
  );
}

/**
 * The numbers that the 256 codes stand for, ascending, from −1 to 1 or from 0 to 1.
 *
 * @param signed whether a bit is the sign: for means of gradients; without: for means of squares
 */
export function dynamicMap(signed: boolean): Float32Array {
  const values = [0, 1];
  for (let i = 0; i < 7; i++) {
    const edges = boundaries(2 ** (signed ? i : i + 1) + 1);
    const power = fround(10 ** (i - 6));
    for (let k = 0; k + 1 < edges.length; k++) {
      const value = fround(power * fround(fround(edges[k] + edges[k + 1]) / 2));
      values.push(value);
      if (signed) values.push(-value);
    }
  }
  return Float32Array.from(values).sort();
}

/** A dynamic map with what finds the nearest code of a number. */
export class Codebook {
  readonly values: Float32Array;
  /** Number k lies in the middle between the codes k and k + 1. */
  readonly #middles: Float32Array;
  /** The smallest code for each pattern of the upper 16 bits of a float32. */
  readonly #first: Uint8Array = new Uint8Array(2 ** 16);
  readonly #floats: Float32Array = new Float32Array(BLOCK_SIZE);
  readonly #bits: Uint32Array = new Uint32Array(this.#floats.buffer);

  /** @param signed as in {@linkcode dynamicMap} */
  constructor(signed: boolean) {
    const values = this.values = dynamicMap(signed);
    this.#middles = values.slice(1).map((value, k) => fround(fround(value + values[k]) / 2));
    for (let top = 0; top < 2 ** 16; top++) {
      // Of the floats with this top, the one that is nearest to −∞.
      this.#bits[0] = top < 2 ** 15 ? top << 16 : (top << 16) | 0xffff;
      const least = this.#floats[0];
      let code = 0;
      while (code < 255 && least > this.#middles[code]) code++;
      this.#first[top] = code;
    }
  }

  /**
   * Writes the codes of the nearest numbers; in the middle between two, the lower one.
   *
   * @param values of a block, each times `scale` in −1 … 1; `count` of them are rounded
   * @param codes gets them, from index `start` on
   */
  round(
    values: Float32Array,
    scale: number,
    codes: Uint8Array,
    { start, count }: { readonly start: number; readonly count: number },
  ): void {
    const floats = this.#floats, bits = this.#bits, middles = this.#middles, first = this.#first;
    for (let i = 0; i < count; i++) {
      const value = floats[i] = Math.fround(values[i] * scale);
      let code = first[bits[i] >>> 16];
      while (code < 255 && value > middles[code]) code++;
      codes[start + i] = code;
    }
  }
}

let signedBook: Codebook | null = null;
let unsignedBook: Codebook | null = null;

/** The codebook of a state, made when it is first needed. */
export function codebook(signed: boolean): Codebook {
  return signed ? signedBook ??= new Codebook(true) : unsignedBook ??= new Codebook(false);
}
