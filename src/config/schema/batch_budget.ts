/**
 * The keys of `training` that cut micro-batches by tokens and pictures.
 *
 * @module
 */
import type { ResolvedConfig, TrainingSection } from "../types/config_types.ts";
import { OURS } from "../sources.ts";
import { nullable } from "../types/composite_types.ts";
import { integer } from "../types/scalar_types.ts";
import { same, type Table } from "../types/value_type.ts";
import type { Finding } from "./finding.ts";

/** `training.token_budget` and `training.image_budget`. */
export const batchBudgetKeys: Table<Pick<TrainingSection, "token_budget" | "image_budget">> = {
  token_budget: {
    type: nullable(integer({ min: 1 })),
    default: same(null),
    source: OURS,
    meaning: "Most tokens of a micro-batch. An optimizer step keeps its " +
      "`per_device_train_batch_size` × `gradient_accumulation_steps` rows and its loss, and computes " +
      "them in as few micro-batches as fit (short rows share one). A longer row has one of its own. " +
      "`null`: `per_device_train_batch_size` rows each. SFT and DPO.",
  },
  image_budget: {
    type: nullable(integer({ min: 1 })),
    default: same(null),
    source: "nanoVLM `max_images_per_knapsack`, 18 there",
    aliases: ["max_images_per_knapsack"],
    meaning: "Most pictures of a micro-batch, as `token_budget`.",
  },
};

/** Mistakes of the budgets that need more than one key. */
export function batchBudgetProblems({ training, training_type }: ResolvedConfig): Finding[] {
  const { token_budget, image_budget, loss_reduction } = training;
  const key = token_budget !== null ? "training.token_budget" : "training.image_budget";
  if (token_budget === null && image_budget === null) return [];
  if (training_type === "grpo") {
    return [{ key, text: "cuts the steps of SFT and DPO; GRPO cuts by prompts, remove it" }];
  }
  if (loss_reduction === "micro_batch") {
    return [{
      key,
      text:
        "needs loss_reduction token: a mean of micro-batch means would depend on how the rows " +
        "are cut",
    }];
  }
  return [];
}
