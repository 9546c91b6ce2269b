/**
 * The section `sft` of the YAML.
 *
 * @module
 */
import type { ResolvedConfig, SFTSection } from "../../types/config_types.ts";
import { OURS, TRL_SFT } from "../../sources.ts";
import { orDefault } from "../../types/composite_types.ts";
import { boolean, oneOf } from "../../types/scalar_types.ts";
import { same, type Table } from "../../types/value_type.ts";
import type { Finding } from "../finding.ts";

/** Every value of `sft.loss_type`. */
export const SFT_LOSS_TYPES = ["nll", "dft"] as const;

/** The keys of `sft`. */
export const sftKeys: Table<SFTSection> = {
  loss_type: {
    // TRL's chunked_nll has the value of nll; logits are computed in chunks here in any case.
    type: orDefault(oneOf(SFT_LOSS_TYPES, new Map([["chunked_nll", "nll"]]))),
    default: same("nll" as const),
    source: TRL_SFT,
    meaning: "`nll`: cross entropy. `dft`: Dynamic Fine-Tuning, each token weighed by its " +
      "probability, held constant. TRL's `chunked_nll` is `nll`.",
  },
  train_on_prompt: {
    type: boolean(),
    default: same(false),
    source: OURS,
    aliases: ["train_on_inputs"],
    meaning:
      "The loss counts every token that the model reads: questions, system messages and the " +
      "template's own tokens too, as TRL's `completion_only_loss: false`. Tokens that stand for " +
      "pictures and answers of weight 0 still carry none. `share_prefix` saves nothing then.",
  },
  last_turn_only: {
    type: boolean(),
    default: same(false),
    source: OURS,
    aliases: ["mask_history"],
    meaning: "The loss counts the last answer of each conversation; the turns before it are read " +
      "as context. Not with `dataset.split_turns`, which makes every turn a conversation.",
  },
};

/** Mistakes of this section that need more than one key. */
export function sftProblems({ training_type, dataset, sft }: ResolvedConfig): Finding[] {
  if (training_type !== "sft" || !sft.last_turn_only) return [];
  const key = "sft.last_turn_only";
  if (sft.train_on_prompt) {
    return [{ key, text: "trains less than answers, train_on_prompt more; keep one of them" }];
  }
  if (dataset.split_turns || dataset.mixture.datasets.some(({ split_turns }) => split_turns)) {
    const text =
      "changes nothing with dataset.split_turns, which makes every turn the last one of " +
      "its own conversation; set split_turns to false, or leave this out";
    return [{ key, text }];
  }
  return [];
}
