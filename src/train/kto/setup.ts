/**
 * KTO's method, parameter groups and reference out of a config, a model and data.
 *
 * @module
 */
import type { ResolvedConfig } from "../../config/types/config_types.ts";
import type { LoadedModel } from "../../generate/load_model.ts";
import { isKTOLoss, type KTOLossType } from "../../losses/kto.ts";
import type { FactGroup } from "../../report/page/report_contents.ts";
import { currentRanks } from "../../distributed/ranks.ts";
import { exampleParts } from "../batches/example_parts.ts";
import { methodOptions } from "../loop/base_method.ts";
import { ReferencePolicy, referenceSync } from "../loop/reference_policy.ts";
import type { ParameterGroup } from "../optimizer/optimizer.ts";
import { KTOExampleMaker } from "./examples.ts";
import { type KTODataset, KTOMethod } from "./method.ts";

/** The KTO loss of a config; null if its losses are of pairs. */
export function ktoLossType({ dpo }: ResolvedConfig): KTOLossType | null {
  const [type] = dpo.loss_type;
  return isKTOLoss(type) ? type : null;
}

/** What KTO's method is made of. */
export interface KTOInputs {
  readonly prepared: LoadedModel;
  readonly train: KTODataset;
  /** Held out; null: no evaluation. */
  readonly evaluation: KTODataset | null;
  /** What trains; the reference keeps their present values. */
  readonly groups: readonly ParameterGroup[];
}

/** Turns rows into answers that fit a model. */
export function ktoExampleMaker(
  prepared: LoadedModel,
  { training }: Pick<ResolvedConfig, "training">,
): KTOExampleMaker {
  return new KTOExampleMaker(
    exampleParts(prepared, training.dataloader_num_workers),
    training.max_seq_length ?? prepared.model.config.lm_max_length,
  );
}

/**
 * KTO's method; made with the model as it is before training, and before a checkpoint is read.
 *
 * @returns the method, and what frees the reference
 */
export function ktoMethod(
  config: ResolvedConfig,
  { prepared, train, evaluation, groups }: KTOInputs,
): { method: KTOMethod; dispose: () => void } {
  const { dpo, training } = config;
  const { model } = prepared;
  const { size } = currentRanks();
  if (size > 1) {
    throw new Error(
      `Cannot run ${dpo.loss_type} on ${size} ranks: its divergence is estimated by one process; ` +
        "start the run without mpirun",
    );
  }
  const reference = new ReferencePolicy(model, groups, referenceSync(dpo));
  const method = new KTOMethod({
    model,
    maker: ktoExampleMaker(prepared, config),
    dataset: train,
    evalDataset: evaluation,
    reference,
  }, {
    ...methodOptions(training),
    disableDropout: dpo.disable_dropout,
    loss: {
      lossType: ktoLossType(config)!,
      beta: dpo.beta,
      desirableWeight: dpo.desirable_weight,
      undesirableWeight: dpo.undesirable_weight,
    },
  });
  return { method, dispose: () => reference.dispose() };
}

/** For the report. */
export function ktoFacts({ dpo }: ResolvedConfig): FactGroup {
  return {
    title: "KTO",
    facts: [
      ["loss", dpo.loss_type.join(" + ")],
      ["beta", dpo.beta],
      ["weights", `${dpo.desirable_weight} good, ${dpo.undesirable_weight} bad`],
      ["reference", dpo.sync_ref_model ? "follows the policy" : "the model before training"],
    ],
  };
}
