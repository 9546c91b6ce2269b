/**
 * The coefficient of GRPO's entropy bonus: constant, or adapted to hold the entropy at a target.
 *
 * @module
 */

/** How large the bonus is; TRL's keys of the same names. */
export interface EntropyOptions {
  /** `entropy_coef` */
  readonly coefficient: number;
  /** `use_adaptive_entropy` */
  readonly adaptive: boolean;
  readonly lowest: number;
  readonly highest: number;
  readonly delta: number;
  /** Nats a token. */
  readonly target: number;
}

/** What a checkpoint keeps. */
export interface EntropyState {
  readonly coefficient: number;
  /** Of the last step; null: there was none. */
  readonly lastEntropy: number | null;
}

/**
 * The adaptive coefficient of Skywork-OR1 (He et al., arXiv 2505.22312, section 4.2): it rises by
 * delta after a step whose entropy is at most the target, falls otherwise, and is applied only if the
 * entropy of the step before was at most the target.
 */
export class EntropyControl {
  #coefficient: number;
  #lastEntropy: number | null = null;

  constructor(readonly options: EntropyOptions) {
    this.#coefficient = options.coefficient;
  }

  /** Whether the loss has such a term. */
  get enabled(): boolean {
    return this.options.adaptive || this.options.coefficient !== 0;
  }

  /** The coefficient after the last step. */
  get coefficient(): number {
    return this.#coefficient;
  }

  /** The coefficient of the next step's loss. */
  get applied(): number {
    const { adaptive, target } = this.options;
    if (!adaptive) return this.#coefficient;
    return (this.#lastEntropy ?? Infinity) <= target ? this.#coefficient : 0;
  }

  /**
   * Learns the entropy of a step.
   *
   * @param entropy mean over the tokens that the bonus acts on, nats
   */
  observe(entropy: number): void {
    const { adaptive, target, delta, lowest, highest } = this.options;
    if (!adaptive) return;
    this.#coefficient = entropy <= target
      ? Math.min(this.#coefficient + delta, highest)
      : Math.max(this.#coefficient - delta, lowest);
    this.#lastEntropy = entropy;
  }

  /** For a checkpoint. */
  get state(): EntropyState {
    return { coefficient: this.#coefficient, lastEntropy: this.#lastEntropy };
  }

  /** From a checkpoint; the present settings stay those of the run. */
  restore({ coefficient, lastEntropy }: EntropyState): void {
    this.#coefficient = this.options.adaptive ? coefficient : this.options.coefficient;
    this.#lastEntropy = lastEntropy;
  }
}
