/**
 * The policy as it was before training, for the KL term: the same model with its adapters off and
 * the values that its trained tensors began with. Only those tensors are kept twice.
 *
 * The reference may follow the policy (Gorbatovski et al., 2024, "Learn Your Reference Model for Real
 * Good Alignment", arXiv 2404.09656, TR-DPO): every K optimizer steps it becomes α times the policy
 * plus (1 − α) times itself. Then it is state of the run, which checkpoints hold.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { VisionLanguageModel } from "../../generate/vision_language_model.ts";
import type { PassOptions } from "../../model/vlm.ts";
import type { ReferenceSyncKeys } from "../../config/types/config_types.ts";
import type { ParameterGroup } from "../optimizer/optimizer.ts";
import type { Parameters } from "./gradients.ts";

/** The model's own tensors that train; adapters are left out of a reference, not kept. */
function ownTrained(
  model: VisionLanguageModel,
  groups: readonly ParameterGroup[],
): Map<string, tf.Variable> {
  const own = new Set(model.weights.values());
  return new Map(
    groups.flatMap(({ parameters }) => [...parameters]).filter(([, variable]) => own.has(variable)),
  );
}

/** How a reference follows the policy. */
export interface ReferenceSync {
  /** The policy's share of the new reference, 0 to 1. */
  readonly alpha: number;
  /** Optimizer steps between two updates. */
  readonly steps: number;
}

/** How the reference of a config follows the policy; null: it does not. */
export function referenceSync(keys: ReferenceSyncKeys): ReferenceSync | null {
  return keys.sync_ref_model
    ? { alpha: keys.ref_model_mixup_alpha, steps: keys.ref_model_sync_steps }
    : null;
}

/** Bytes of what a {@linkcode ReferencePolicy} keeps. */
export function referenceBytes(
  model: VisionLanguageModel,
  groups: readonly ParameterGroup[],
): number {
  return 4 * [...ownTrained(model, groups).values()].reduce((sum, { size }) => sum + size, 0);
}

/** The reference policy of a model in training. */
export class ReferencePolicy {
  /** The model's own tensors that train. */
  readonly #trained: ReadonlyMap<string, tf.Variable>;
  /** The reference's values of them. */
  readonly #kept: ReadonlyMap<string, tf.Variable>;
  readonly #sync: ReferenceSync | null;

  /**
   * Copies what is about to be trained. To be made before the first step, and in a resumed run before
   * the checkpoint is read.
   *
   * @param sync how the reference follows the policy; null: it stays
   * @throws {Error} if it is to follow a model with adapters, whose reference has no weights of its
   *   own
   */
  constructor(
    model: VisionLanguageModel,
    groups: readonly ParameterGroup[],
    sync: ReferenceSync | null = null,
  ) {
    if (sync !== null && model.adapters.size > 0) {
      throw new Error(
        `Cannot let the reference follow the policy: ${model.adapters.size} layers have adapters, ` +
          "and the reference is the model without them, which has no weights of its own to update; " +
          "set sync_ref_model to false, or train the whole model",
      );
    }
    this.#sync = sync;
    this.#trained = ownTrained(model, groups);
    this.#kept = new Map(
      [...this.#trained].map(([name, variable]) => [
        name,
        // A product by 1 is a copy of its own; a clone would share the values.
        tf.tidy(() => tf.variable(variable.mul(1), false)),
      ]),
    );
  }

  /** The reference's values by name, if they change while training: a checkpoint has to hold them. */
  get state(): Parameters {
    return this.#sync === null ? new Map() : this.#kept;
  }

  /**
   * Runs something on the reference.
   *
   * @param pass gets the options that the model's passes need
   */
  run<T>(pass: (options: PassOptions) => T): T {
    const current = [...this.#trained].map(([name, variable]) =>
      [name, variable, variable.clone()] as const
    );
    try {
      for (const [name, variable] of current) variable.assign(this.#kept.get(name)!);
      return pass({ withoutAdapters: true });
    } finally {
      for (const [, variable, values] of current) variable.assign(values);
      tf.dispose(current.map(([, , values]) => values));
    }
  }

  /**
   * To be called after each update of the policy: moves the reference towards it if that is due
   * (TRL's `SyncRefModelCallback`).
   *
   * @param step optimizer steps done, the last one included
   */
  follow(step: number): void {
    if (this.#sync === null || step % this.#sync.steps !== 0) return;
    const { alpha } = this.#sync;
    for (const [name, variable] of this.#trained) {
      const kept = this.#kept.get(name)!;
      tf.tidy(() => kept.assign(kept.mul(1 - alpha).add(variable.mul(alpha))));
    }
  }

  /** Frees the kept values. */
  dispose(): void {
    tf.dispose([...this.#kept.values()]);
  }
}
