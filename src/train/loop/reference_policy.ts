/**
 * The policy as it was before training, for the KL term: the same model with its adapters off and
 * the values that its trained tensors began with. Only those tensors are kept twice.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { VisionLanguageModel } from "../../generate/vision_language_model.ts";
import type { PassOptions } from "../../model/vlm.ts";
import type { ParameterGroup } from "../optimizer/optimizer.ts";

/** The model's own tensors that train; adapters are left out of a reference, not kept. */
function ownTrained(
  model: VisionLanguageModel,
  groups: readonly ParameterGroup[],
): tf.Variable[] {
  const own = new Set(model.weights.values());
  return groups.flatMap(({ parameters }) => [...parameters.values()])
    .filter((variable) => own.has(variable));
}

/** Bytes of what a {@linkcode ReferencePolicy} keeps. */
export function referenceBytes(
  model: VisionLanguageModel,
  groups: readonly ParameterGroup[],
): number {
  return 4 * ownTrained(model, groups).reduce((sum, { size }) => sum + size, 0);
}

/** The reference policy of a model in training. */
export class ReferencePolicy {
  /** A trained tensor of the model itself, and the values that it began with. */
  readonly #frozen: readonly (readonly [tf.Variable, tf.Tensor])[];

  /**
   * Copies what is about to be trained. To be made before the first step, and in a resumed run before
   * the checkpoint is read.
   */
  constructor(model: VisionLanguageModel, groups: readonly ParameterGroup[]) {
    this.#frozen = ownTrained(model, groups)
      // A product by 1 is a copy of its own; a clone would share the values.
      .map((variable) => [variable, tf.tidy(() => variable.mul(1))] as const);
  }

  /**
   * Runs something on the model as it was.
   *
   * @param pass gets the options that the model's passes need
   */
  run<T>(pass: (options: PassOptions) => T): T {
    const current = this.#frozen.map(([variable]) => variable.clone());
    try {
      for (const [variable, values] of this.#frozen) variable.assign(values);
      return pass({ withoutAdapters: true });
    } finally {
      this.#frozen.forEach(([variable], i) => variable.assign(current[i]));
      tf.dispose(current);
    }
  }

  /** Frees the kept values. */
  dispose(): void {
    tf.dispose(this.#frozen.map(([, values]) => values));
  }
}
