/**
 * The random number behind each sampled token.
 *
 * @module
 */
import { philox4x32 } from "../random.ts";

/** Tells generation's numbers from those of other purposes with the same seed. */
const GENERATION = 0x67656e21;

/**
 * Uniform in [0, 1), by the sequence and the token's place in it alone: what else is in the batch,
 * and in what order, does not matter.
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
