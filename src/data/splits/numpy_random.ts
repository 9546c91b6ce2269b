/**
 * NumPy's `default_rng(seed).permutation(n)`, to the number: SeedSequence, PCG64 (XSL-RR) and the
 * shuffle of `Generator`.
 *
 * Sources: numpy/random/bit_generator.pyx (SeedSequence), numpy/random/src/pcg64/pcg64.h,
 * `_shuffle_raw` in numpy/random/_generator.pyx, and `random_interval` in
 * numpy/random/src/distributions/distributions.c.
 *
 * @module
 */

const POOL_WORDS = 4;
const MASK_64 = (1n << 64n) - 1n;
const MASK_128 = (1n << 128n) - 1n;
/** PCG's default multiplier of 128 bits. */
const MULTIPLIER = 0x2360ed051fc65da44385df649fccf645n;

/** A 32-bit product, unsigned. */
function multiply(a: number, b: number): number {
  return Math.imul(a, b) >>> 0;
}

/** The hash of SeedSequence: its constant changes with each call. */
function hasher(start: number, multiplier: number): (word: number) => number {
  let constant = start;
  return (word) => {
    let value = (word ^ constant) >>> 0;
    constant = multiply(constant, multiplier);
    value = multiply(value, constant);
    return (value ^ (value >>> 16)) >>> 0;
  };
}

function mix(x: number, y: number): number {
  const value = (multiply(0xca01f9dd, x) - multiply(0x4973f715, y)) >>> 0;
  return (value ^ (value >>> 16)) >>> 0;
}

/**
 * `SeedSequence(seed).generate_state(words)`.
 *
 * @param seed a non-negative integer
 * @param words how many 32-bit words
 */
export function seedSequence(seed: number, words: number): number[] {
  const entropy: number[] = [];
  for (let rest = BigInt(seed); entropy.length === 0 || rest > 0n; rest >>= 32n) {
    entropy.push(Number(rest & 0xffffffffn));
  }
  const hash = hasher(0x43b0d7e5, 0x931e8875);
  const pool = Array.from({ length: POOL_WORDS }, (_, i) => hash(entropy[i] ?? 0));
  for (let from = 0; from < POOL_WORDS; from++) {
    for (let to = 0; to < POOL_WORDS; to++) {
      if (from !== to) pool[to] = mix(pool[to], hash(pool[from]));
    }
  }
  // A seed that JavaScript can hold has at most two words, so that none is left over here.
  const output = hasher(0x8b51f9dd, 0x58f38ded);
  return Array.from({ length: words }, (_, i) => output(pool[i % POOL_WORDS]));
}

/** NumPy's PCG64. */
export class PCG64 {
  #state = 0n;
  readonly #increment: bigint;
  /** The upper half of the last 64 bits, if only the lower half was used. */
  #half: number | null = null;

  /**
   * @param seed as for `numpy.random.default_rng`
   * @throws {RangeError} if the seed is not a non-negative integer
   */
  constructor(seed: number) {
    if (!Number.isSafeInteger(seed) || seed < 0) {
      throw new RangeError(`Cannot seed PCG64 with ${seed}: want an integer from 0`);
    }
    const words = seedSequence(seed, 8).map(BigInt);
    // Little-endian pairs are 64-bit words; of two such words the first is the upper one.
    const long = (i: number) => words[2 * i] | words[2 * i + 1] << 32n;
    this.#increment = ((long(2) << 64n | long(3)) << 1n | 1n) & MASK_128;
    this.#step();
    this.#state = (this.#state + (long(0) << 64n | long(1))) & MASK_128;
    this.#step();
  }

  #step(): void {
    this.#state = (this.#state * MULTIPLIER + this.#increment) & MASK_128;
  }

  /** The next 64 bits. */
  next64(): bigint {
    this.#step();
    const folded = (this.#state >> 64n) ^ (this.#state & MASK_64);
    const rotation = this.#state >> 122n;
    return (folded >> rotation | folded << (64n - rotation)) & MASK_64;
  }

  /** A number from 0 up to 1, as `Generator.random()` (53 bits). */
  nextDouble(): number {
    return Number(this.next64() >> 11n) / 2 ** 53;
  }

  /** The next 32 bits: the lower half of the next 64, then the upper. */
  next32(): number {
    if (this.#half !== null) {
      const upper = this.#half;
      this.#half = null;
      return upper;
    }
    const bits = this.next64();
    this.#half = Number(bits >> 32n);
    return Number(bits & 0xffffffffn);
  }

  /**
   * An integer from 0 to `limit`, both included: draws as many bits as the limit has, until they
   * are not above it (`random_interval`).
   *
   * @param limit below 2³²
   */
  nextUpTo(limit: number): number {
    if (limit === 0) return 0;
    const shift = Math.clz32(limit);
    for (;;) {
      const value = (this.next32() << shift) >>> shift;
      if (value <= limit) return value;
    }
  }
}

/**
 * `numpy.random.default_rng(seed).permutation(length)`.
 *
 * @param length of the permutation, below 2³²
 * @throws {RangeError} if the seed is not a non-negative integer
 *
 * @example The rows that `datasets` holds out of ten
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { numpyPermutation } from "./numpy_random.ts";
 *
 * assertEquals([...numpyPermutation(10, 42)], [5, 6, 0, 7, 3, 2, 4, 9, 1, 8]);
 * ```
 */
export function numpyPermutation(length: number, seed: number): Uint32Array {
  const random = new PCG64(seed);
  const order = Uint32Array.from({ length }, (_, i) => i);
  for (let i = length - 1; i >= 1; i--) {
    const j = random.nextUpTo(i);
    const held = order[i];
    order[i] = order[j];
    order[j] = held;
  }
  return order;
}
