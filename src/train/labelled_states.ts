/**
 * What a pass's log-probabilities came from, kept for metrics that are computed after it.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";

// M labelled tokens, C channels

/** Keeps the states of a pass: those of the last one, where a batch goes through several times. */
export class LabelledStates {
  #states: tf.Tensor2D | null = null;

  /** For `PassOptions.observeLabelled`. */
  readonly observe = (states: tf.Tensor2D): void => {
    this.#states?.dispose();
    this.#states = tf.keep(states.clone());
  };

  /** The states, [M, C], which are the caller's from now on. */
  take(): tf.Tensor2D {
    const states = this.#states;
    if (states === null) throw new Error("Cannot take the states of a pass: there was none");
    this.#states = null;
    return states;
  }

  /** Frees what was kept and not taken, as where the way back fails. */
  dispose(): void {
    this.#states?.dispose();
    this.#states = null;
  }
}
