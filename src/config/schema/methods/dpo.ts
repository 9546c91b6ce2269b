/**
 * The section `dpo` of the YAML.
 *
 * @module
 */
import { DPO_LOSS_TYPES } from "../../../losses/dpo.ts";
import { KTO_LOSS_TYPES } from "../../../losses/kto.ts";
import { F_DIVERGENCES } from "../../../losses/f_divergence.ts";
import type { DPOSection } from "../../types/config_types.ts";
import { LAB_MAIN, TRL_CPO, TRL_DPO, TRL_KTO } from "../../sources.ts";
import { listOf, nullable, orDefault } from "../../types/composite_types.ts";
import { boolean, number, oneOf, text } from "../../types/scalar_types.ts";
import { referenceSyncKeys } from "./reference_sync.ts";
import { derived, same, type Table } from "../../types/value_type.ts";

/** The keys of `dpo`. */
export const dpoKeys: Table<DPOSection> = {
  beta: {
    type: number({ above: 0 }),
    default: same(0.1),
    source: LAB_MAIN,
    meaning:
      "How strongly the policy is held to the reference (`ipo`: its tau; `cpo`, `simpo` and " +
      "`alphapo`: the scale of the reward; `orpo`: the weight lambda of the odds ratio).",
    advice: {
      range: "0.05 to 0.5",
      choose:
        "Higher stays closer to the model that you start from. Lower it if margins do not grow, raise it if answers fall apart.",
    },
  },
  loss_type: {
    type: listOf(oneOf([...DPO_LOSS_TYPES, ...KTO_LOSS_TYPES]), { min: 1 }),
    default: derived("sigmoid", () => ["sigmoid" as const]),
    source: LAB_MAIN,
    meaning: "The preference loss, by TRL's name, or a list of them, summed. `cpo`, `simpo`, " +
      "`alphapo` and `orpo` are those of TRL's CPO and ORPO trainers and need no reference. `kto` and " +
      "`apo_zero_unpaired` are those of its KTO trainer: single answers, with the columns `prompt`, " +
      "`completion` and `label`, or pairs taken apart.",
    aliases: ["dpo_loss_type"],
  },
  loss_weights: {
    type: orDefault(listOf(number())),
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
  ld_alpha: {
    type: nullable(number({ min: 0, max: 1 })),
    default: same(null),
    source: TRL_DPO,
    meaning: "LD-DPO: the weight of the longer answer's tokens beyond the length of the shorter " +
      "one. `null`: 1.",
  },
  use_weighting: {
    type: boolean(),
    default: same(false),
    source: TRL_DPO,
    meaning: "WPO: weigh each pair by how likely the policy finds its answers; one more forward " +
      "pass a step.",
  },
  desirable_weight: {
    type: number({ min: 0 }),
    default: same(1),
    source: TRL_KTO,
    meaning: "KTO: the weight of good answers.",
  },
  undesirable_weight: {
    type: number({ min: 0 }),
    default: same(1),
    source: TRL_KTO,
    meaning: "KTO: the weight of bad answers.",
  },
  cpo_alpha: {
    type: number({ min: 0 }),
    default: same(1),
    source: TRL_CPO,
    meaning: "Weight of the chosen answers' cross entropy in `cpo` and `simpo` (SimPO's paper: 0).",
  },
  simpo_gamma: {
    type: number({ min: 0 }),
    default: same(0.5),
    source: TRL_CPO,
    meaning: "The margin of rewards that `simpo` and `alphapo` want.",
  },
  alpha: {
    type: number(),
    default: same(0),
    source: TRL_CPO,
    meaning:
      "AlphaPO's shape of the reward in `cpo`, `simpo` and `alphapo`: (1 - p^-alpha) / alpha. " +
      "0: log p.",
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
  ...referenceSyncKeys(TRL_DPO),
  disable_dropout: {
    type: boolean(),
    default: same(true),
    source: TRL_DPO,
    meaning: "No dropout while training.",
  },
};
