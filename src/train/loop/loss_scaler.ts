/**
 * Dynamic loss scaling for fp16 (Micikevicius et al., 2018), with the numbers of PyTorch's
 * `torch.amp.GradScaler`: the backward pass starts from scale · loss, so that small gradients do not
 * vanish below float16's smallest number; a step whose gradients are not finite is skipped and
 * halves the scale, and 2,000 good ones in a row double it.
 *
 * @module
 */

/** A scaler's state in a checkpoint, by GradScaler's names. */
export interface LossScalerState {
  scale: number;
  growth_factor: number;
  backoff_factor: number;
  growth_interval: number;
  /** Good steps since the scale last changed. */
  _growth_tracker: number;
}

/** GradScaler's defaults. */
export const LOSS_SCALER_DEFAULTS: Readonly<LossScalerState> = {
  scale: 65_536,
  growth_factor: 2,
  backoff_factor: 0.5,
  growth_interval: 2000,
  _growth_tracker: 0,
};

/** The loss scale of a run. */
export class LossScaler {
  #state: LossScalerState;

  /** @param state if it differs from GradScaler's defaults */
  constructor(state: Partial<LossScalerState> = {}) {
    this.#state = { ...LOSS_SCALER_DEFAULTS, ...state };
  }

  /** What the loss is multiplied by. */
  get scale(): number {
    return this.#state.scale;
  }

  /**
   * Follows a step (GradScaler's `update`).
   *
   * @param overflowed whether its gradients held an infinity or NaN, so that it was skipped
   */
  update(overflowed: boolean): void {
    const state = this.#state;
    if (overflowed) {
      state.scale = Math.fround(state.scale * state.backoff_factor);
      state._growth_tracker = 0;
      return;
    }
    if (++state._growth_tracker < state.growth_interval) return;
    const grown = Math.fround(state.scale * state.growth_factor);
    if (Number.isFinite(grown)) state.scale = grown;
    state._growth_tracker = 0;
  }

  /** For a checkpoint. */
  state(): LossScalerState {
    return { ...this.#state };
  }

  /** From a checkpoint. */
  restore(state: LossScalerState): void {
    this.#state = { ...state };
  }
}
