/**
 * Where DPO's reference log-probabilities come from: the model without its adapters, a frozen copy,
 * or a table that was filled before training.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../../device/read_back.ts";
import type { ModelBatch } from "../../model/batch.ts";
import type { VisionLanguageModel } from "../../generate/vision_language_model.ts";
import { type DPOPair, type PairLogProbs, sumPairs } from "./examples.ts";
import { ReferencePolicy, type ReferenceSync } from "../loop/reference_policy.ts";
import { readLogProbs } from "../loop/log_prob_gradients.ts";
import type { ParameterGroup } from "../optimizer/optimizer.ts";

/** A batch of pairs, as the policy gets it. */
export interface PairBatch {
  readonly pairs: readonly DPOPair[];
  readonly batch: ModelBatch;
  /** Of the policy's vision encoder, if nothing of it trains. */
  readonly features?: tf.Tensor;
}

/** Computes or reads the reference's log-probabilities. */
export interface DPOReference {
  /** In a few words, for the report. */
  readonly description: string;
  logProbs(inputs: PairBatch): Promise<PairLogProbs>;
  /** Frees what it holds on the device. */
  dispose(): void;
}

/** The policy without its adapters; correct if nothing but adapters trains. */
export class AdapterFreeReference implements DPOReference {
  readonly description = "the base model, without its adapter";

  /** @param ldAlpha as in `sumPairs()` */
  constructor(readonly model: VisionLanguageModel, readonly ldAlpha: number | null = null) {}

  async logProbs({ pairs, batch, features }: PairBatch): Promise<PairLogProbs> {
    const options = { withoutAdapters: true };
    const values = await readLogProbs(() => this.model.labelLogProbs(batch, options, features)!);
    return sumPairs(pairs, values, this.ldAlpha);
  }

  dispose(): void {}
}

/** A copy of what trains: frozen, or following the policy. */
export class FrozenReference implements DPOReference {
  readonly description: string;
  readonly policy: ReferencePolicy;

  /**
   * Keeps the present values: to be made before the first step and before a checkpoint is read.
   *
   * @param ldAlpha as in `sumPairs()`
   * @param sync as in `ReferencePolicy`
   * @throws {Error} as `ReferencePolicy` does
   */
  constructor(
    readonly model: VisionLanguageModel,
    groups: readonly ParameterGroup[],
    readonly ldAlpha: number | null = null,
    sync: ReferenceSync | null = null,
  ) {
    this.policy = new ReferencePolicy(model, groups, sync);
    this.description = sync === null
      ? "a frozen copy of what trains"
      : `a copy that takes ${sync.alpha} of the policy every ${sync.steps} steps`;
  }

  async logProbs({ pairs, batch }: PairBatch): Promise<PairLogProbs> {
    const tensor = this.policy.run((options) =>
      tf.tidy(() => this.model.labelLogProbs(batch, options)!)
    );
    const [values] = await readBack([tensor]);
    tensor.dispose();
    return sumPairs(pairs, values, this.ldAlpha);
  }

  dispose(): void {
    this.policy.dispose();
  }
}

/** Log-probabilities of chosen and rejected by row. */
export type ReferenceTable = ReadonlyMap<number, readonly [chosen: number, rejected: number]>;

/** A table by row, filled before training. */
export class TableReference implements DPOReference {
  /**
   * @param table has every row that is asked for
   * @param description where the numbers come from
   */
  constructor(readonly table: ReferenceTable, readonly description: string) {}

  logProbs({ pairs }: PairBatch): Promise<PairLogProbs> {
    const entries = pairs.map(({ row }) => {
      const entry = row === null ? undefined : this.table.get(row);
      if (entry !== undefined) return entry;
      throw new Error(
        `Cannot find the reference's log-probabilities of row ${row}: the table has ` +
          `${this.table.size} rows and not this one`,
      );
    });
    return Promise.resolve({
      chosen: Float64Array.from(entries, ([chosen]) => chosen),
      rejected: Float64Array.from(entries, ([, rejected]) => rejected),
    });
  }

  dispose(): void {}
}
