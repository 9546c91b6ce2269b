/** How large an answer may be: bounded by what went in, so that a module cannot fill the host. */
import type { CodecLimits } from "../child/codec.ts";

const MIB = 2 ** 20;

/** Bounds of the answer to a call with arguments of so many encoded bytes. */
export function answerLimits(argumentBytes: number): CodecLimits {
  return { bytes: 16 * MIB + 16 * argumentBytes, items: 500_000 + argumentBytes };
}

/** Bounds of a message that holds scores, errors or names and no data. */
export const SMALL_ANSWER: CodecLimits = { bytes: 8 * MIB, items: 100_000 };

/** Bounds of an answer of so many scores. */
export function scoreLimits(scores: number): CodecLimits {
  return { bytes: SMALL_ANSWER.bytes + 16 * scores, items: SMALL_ANSWER.items + scores };
}

/** Room for the printed lines and the refusals that come with an answer. */
export function withNotes({ bytes, items }: CodecLimits): CodecLimits {
  return { bytes: bytes + 2 * MIB, items: items + 1000 };
}

/** Bytes that all answers of a run may have together. */
export class RunAllowance {
  #in = 0;
  #out = 0;
  #calls = 0;

  /**
   * Counts a call.
   *
   * @returns why the run's answers are too large together, or null
   */
  add(argumentBytes: number, answerBytes: number): string | null {
    this.#in += argumentBytes;
    this.#out += answerBytes;
    this.#calls++;
    const most = 64 * MIB + 16 * this.#in + 0.25 * MIB * this.#calls;
    if (this.#out <= most) return null;
    return `its answers have ${Math.round(this.#out / MIB)} MB in all for ${
      Math.round(this.#in / MIB)
    } MB of arguments in ${this.#calls} calls: want ${Math.round(most / MIB)} MB at most`;
  }
}
