/**
 * Result of a replayed parity case.
 *
 * @module
 */

/** The largest error of one quantity of one case, against its tolerance. */
export interface ParityResult {
  /** The case, e.g. `losses/grpo.json[3] dapo`. */
  case: string;
  /** What was compared, e.g. `loss` or `gradient`. */
  quantity: string;
  /** Largest error, in the units of `tolerance`. */
  error: number;
  /** Largest error that passes. */
  tolerance: number;
  ok: boolean;
  /** Anything that helps to read a failure. */
  detail?: string;
}
