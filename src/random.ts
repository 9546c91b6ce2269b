/**
 * Counter-based random numbers. The same seed gives the same numbers on every machine, backend and
 * batch layout. The state of a stream is one integer, so a resumed run continues exactly.
 *
 * @module
 */

const M0 = 0xd2511f53;
const M1 = 0xcd9e8d57;
const W0 = 0x9e3779b9;
const W1 = 0xbb67ae85;

/** High 32 bits of the unsigned product of two 32-bit words. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff, aHigh = a >>> 16;
  const bLow = b & 0xffff, bHigh = b >>> 16;
  const low = aLow * bLow;
  const middle = aHigh * bLow + (low >>> 16);
  const middle2 = aLow * bHigh + (middle & 0xffff);
  return (aHigh * bHigh + Math.floor(middle / 0x10000) + Math.floor(middle2 / 0x10000)) >>> 0;
}

/**
 * Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): a
 * bijection from a 128-bit counter to 128 random bits under a 64-bit key.
 *
 * @param counter four 32-bit words
 * @param key two 32-bit words
 * @returns four 32-bit words, unsigned
 */
export function philox4x32(
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
): [number, number, number, number] {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const high0 = multiplyHigh(M0, c0 >>> 0), low0 = Math.imul(M0, c0) >>> 0;
    const high1 = multiplyHigh(M1, c2 >>> 0), low1 = Math.imul(M1, c2) >>> 0;
    [c0, c1, c2, c3] = [(high1 ^ c1 ^ k0) >>> 0, low1, (high0 ^ c3 ^ k1) >>> 0, low0];
    k0 = (k0 + W0) >>> 0;
    k1 = (k1 + W1) >>> 0;
  }
  return [c0 >>> 0, c1 >>> 0, c2 >>> 0, c3 >>> 0];
}

/** FNV-1a hash of a purpose, so that each purpose has a stream of its own. */
function hashName(name: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) {
    hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193) >>> 0;
  }
  return hash;
}

/**
 * A stream of random numbers, named by a seed and a purpose.
 *
 * @example Two streams of one seed do not depend on each other
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { RandomStream } from "./random.ts";
 *
 * const a = new RandomStream(42, "shuffle");
 * a.nextFloat();
 * const b = new RandomStream(42, "shuffle", a.position);
 * assertEquals(a.nextFloat(), b.nextFloat());
 * ```
 */
export class RandomStream {
  readonly #key: [number, number];
  #position: number;
  #block: [number, number, number, number] | null = null;
  #blockIndex = -1;

  /**
   * @param seed any integer
   * @param purpose what the numbers are for; another purpose is another stream
   * @param position how many 32-bit words have been drawn already
   */
  constructor(seed: number, purpose: string, position = 0) {
    this.#key = [seed >>> 0, hashName(purpose)];
    this.#position = position;
  }

  /** How many 32-bit words have been drawn: the whole state besides seed and purpose. */
  get position(): number {
    return this.#position;
  }

  /** The next 32 random bits, unsigned. */
  nextUint32(): number {
    const index = Math.floor(this.#position / 4);
    if (index !== this.#blockIndex || this.#block === null) {
      this.#block = philox4x32([index >>> 0, Math.floor(index / 2 ** 32) >>> 0, 0, 0], this.#key);
      this.#blockIndex = index;
    }
    return this.#block[this.#position++ % 4];
  }

  /** Uniform in [0, 1), 32 bits of resolution. */
  nextFloat(): number {
    return this.nextUint32() / 2 ** 32;
  }

  /**
   * Uniform integer in [0, bound), without modulo bias.
   *
   * @throws {RangeError} if bound is not an integer from 1 to 2^32
   */
  nextInt(bound: number): number {
    if (!Number.isInteger(bound) || bound < 1 || bound > 2 ** 32) {
      throw new RangeError(`Cannot draw an integer below ${bound}: want 1 to 2^32`);
    }
    const limit = 2 ** 32 - (2 ** 32 % bound);
    for (;;) {
      const word = this.nextUint32();
      if (word < limit) return word % bound;
    }
  }

  /** Standard normal (Box and Muller, 1958); draws two words for each number. */
  nextNormal(): number {
    const u = (this.nextUint32() + 1) / (2 ** 32 + 1);
    const v = this.nextUint32() / 2 ** 32;
    return Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * v);
  }
}

/**
 * The numbers 0 … length − 1 in random order (Fisher and Yates).
 *
 * @param length how many
 * @param random the stream to draw from
 */
export function shuffledIndices(length: number, random: RandomStream): Uint32Array {
  const order = new Uint32Array(length);
  for (let i = 0; i < length; i++) order[i] = i;
  for (let i = length - 1; i > 0; i--) {
    const j = random.nextInt(i + 1);
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}
