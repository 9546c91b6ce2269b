/**
 * The random number behind each sampled token.
 *
 * @module
 */
import { philox4x32 } from "../random.ts";

/** Separates these random numbers from others with the same seed. */
const GENERATION = 0x67656e21;

/**
 * Uniform in [0, 1), a function of the sequence and the token's position only, not of the rest of
 * the batch.
 *
 * @param seed of the run
 * @param sequence id of the sequence, below 2^53
 * @param index of the token in the completion, from 0
 */
export function tokenUniform(seed: number, sequence: number, index: number): number {
  const high = Math.floor(sequence / 2 ** 32);
  const [word] = philox4x32([index >>> 0, sequence >>> 0, high >>> 0, 0], [seed >>> 0, GENERATION]);
  return word / 2 ** 32;
}
