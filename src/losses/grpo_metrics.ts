/**
 * What a batch of the GRPO family logs, with TRL's names.
 *
 * @module
 */
import type { RatioLevel } from "./importance_ratio.ts";
import type { GRPOLoss } from "./grpo_losses.ts";

/** Collects the metrics of a batch sequence by sequence. */
export class GRPOMetrics {
  readonly #logs: GRPOLoss["logs"];
  readonly #level: RatioLevel;
  #tokens = 0;
  #sequences = 0;
  #entropySum = 0;
  #klSum = 0;
  #phiSum = 0;
  #low = 0;
  #high = 0;
  #lowestShare = Infinity;
  #highestShare = -Infinity;

  /**
   * @param logs what is logged of the clipping
   * @param level at `sequence`, clip ratios are shares of sequences, not of tokens
   */
  constructor(logs: GRPOLoss["logs"], level: RatioLevel) {
    this.#logs = logs;
    this.#level = level;
  }

  /** Counts an unmasked token. */
  addToken(entropy: number, divergence: number): void {
    this.#tokens++;
    this.#entropySum += entropy;
    this.#klSum += divergence;
  }

  /**
   * Counts a sequence.
   *
   * @param length unmasked tokens
   * @param lowClipped unmasked tokens clipped from below; at level `sequence` 0 or 1
   * @param highClipped the same from above
   */
  addSequence(length: number, lowClipped: number, highClipped: number, phi: number): void {
    this.#sequences++;
    this.#low += lowClipped;
    this.#high += highClipped;
    this.#phiSum += phi;
    const divisor = this.#level !== "token" ? 1 : length;
    if (divisor === 0) return; // a share of no tokens is not a number, and is left out
    this.#lowestShare = Math.min(this.#lowestShare, lowClipped / divisor);
    this.#highestShare = Math.max(this.#highestShare, highClipped / divisor);
  }

  /** The metrics: entropy, kl if asked for, and the clip ratios of the loss type. */
  finish(hasEntropies: boolean, hasDivergence: boolean): Record<string, number> {
    const metrics: Record<string, number> = {};
    const tokens = Math.max(this.#tokens, 1);
    const clipDivisor = this.#level !== "token" ? Math.max(this.#sequences, 1) : tokens;
    if (hasDivergence) metrics.kl = this.#klSum / tokens;
    if (hasEntropies) metrics.entropy = this.#entropySum / tokens;
    if (this.#logs === "cispo_clip_ratio") {
      metrics[this.#logs] = this.#high / clipDivisor;
    } else if (this.#logs === "vespo/phi_seq_mean") {
      metrics[this.#logs] = this.#phiSum / Math.max(this.#sequences, 1);
    } else if (this.#logs === "clip_ratio") {
      metrics["clip_ratio/low_mean"] = this.#low / clipDivisor;
      // Infinite only if every token is masked; then nothing was clipped.
      metrics["clip_ratio/low_min"] = Number.isFinite(this.#lowestShare) ? this.#lowestShare : 0;
      metrics["clip_ratio/high_mean"] = this.#high / clipDivisor;
      metrics["clip_ratio/high_max"] = Math.max(this.#highestShare, 0);
      metrics["clip_ratio/region_mean"] = (this.#low + this.#high) / clipDivisor;
    }
    return metrics;
  }
}
