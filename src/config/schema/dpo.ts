/**
 * The section `dpo` of the YAML.
 *
 * @module
 */
import { DPO_LOSS_TYPES } from "../../losses/dpo.ts";
import { F_DIVERGENCES } from "../../losses/f_divergence.ts";
import type { DPOSection } from "../types/config_types.ts";
import { LAB_MAIN, TRL_DPO } from "../sources.ts";
import { listOf, nullable } from "../types/composite_types.ts";
import { boolean, number, oneOf, text } from "../types/scalar_types.ts";
import { derived, same, type Table } from "../types/value_type.ts";

/** The keys of `dpo`. */
export const dpoKeys: Table<DPOSection> = {
  beta: {
    type: number({ above: 0 }),
    default: same(0.1),
    source: LAB_MAIN,
    meaning: "How strongly the policy is held to the reference (`ipo`: its tau).",
  },
  loss_type: {
    type: listOf(oneOf(DPO_LOSS_TYPES), { min: 1 }),
    default: derived("sigmoid", () => ["sigmoid" as const]),
    source: LAB_MAIN,
    meaning: "The preference loss, by TRL's name, or a list of them, summed.",
    aliases: ["dpo_loss_type"],
  },
  loss_weights: {
    type: listOf(number()),
    default: derived("1 for each", (config) => config.dpo.loss_type.map(() => 1)),
    source: TRL_DPO,
    meaning: "Weights of the losses of `loss_type`.",
  },
  label_smoothing: {
    type: number({ min: 0, below: 0.5 }),
    default: same(0),
    source: LAB_MAIN,
    meaning: "Probability that a preference label is flipped.",
  },
  discopop_tau: {
    type: number({ above: 0 }),
    default: same(0.05),
    source: TRL_DPO,
    meaning: "Temperature of `discopop`.",
  },
  f_divergence_type: {
    type: oneOf(F_DIVERGENCES),
    default: same("reverse_kl" as const),
    source: TRL_DPO,
    meaning: "The divergence that holds the policy to the reference (f-DPO).",
  },
  f_alpha_divergence_coef: {
    type: number(),
    default: same(0.5),
    source: TRL_DPO,
    meaning: "Alpha of `alpha_divergence`.",
  },
  reference_free: {
    type: boolean(),
    default: same(false),
    source: "NanoVLM-Lab `NanoVLMDPOTrainer`",
    meaning: "Take the reference's log-probabilities as 0.",
  },
  precompute_ref_log_probs: {
    type: boolean(),
    default: same(false),
    source: TRL_DPO,
    meaning:
      "Compute the reference's log-probabilities once, before training, and keep them on disk.",
  },
  ref_model_name_or_path: {
    type: nullable(text()),
    default: same(null),
    source: "ours (TRL: `ref_model`)",
    meaning:
      "The reference model. `null`: the model before training; under LoRA the base without " +
      "its adapter, else a frozen copy.",
  },
  disable_dropout: {
    type: boolean(),
    default: same(true),
    source: TRL_DPO,
    meaning: "No dropout while training.",
  },
};
