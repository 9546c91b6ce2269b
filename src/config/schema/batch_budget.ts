/**
 * The keys of `training` that cut micro-batches by tokens and pictures.
 *
 * @module
 */
import type { ResolvedConfig, TrainingSection } from "../types/config_types.ts";
import { isKTOLoss } from "../../losses/kto.ts";
import { HF_ARGUMENTS, OURS } from "../sources.ts";
import { nullable } from "../types/composite_types.ts";
import { boolean, integer } from "../types/scalar_types.ts";
import { same, type Table } from "../types/value_type.ts";
import type { Finding } from "./finding.ts";

type BatchKeys = "token_budget" | "image_budget" | "auto_find_batch_size";

/** How a step is cut into micro-batches, beside `per_device_train_batch_size`. */
export const batchBudgetKeys: Table<Pick<TrainingSection, BatchKeys>> = {
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
  auto_find_batch_size: {
    type: boolean(),
    default: same(false),
    source: HF_ARGUMENTS,
    meaning:
      "If memory runs out in a step, halve the rows of a micro-batch and do the step again, " +
      "with the same rows: the accumulation grows and the batch of a step stays, so that nothing is " +
      "lost. Checkpoints keep the size that was found. (Transformers begins again, with a smaller " +
      "batch.) SFT and DPO.",
  },
};

/** Losses of `dpo` that compare rows of a micro-batch with each other. */
const isCoupled = (name: string) => name.startsWith("aot") || isKTOLoss(name);

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

/** Mistakes of `auto_find_batch_size` that need more than one key. */
export function autoFindProblems({ training, training_type, dpo }: ResolvedConfig): Finding[] {
  const { auto_find_batch_size, token_budget, image_budget, loss_reduction } = training;
  const key = "training.auto_find_batch_size";
  if (!auto_find_batch_size) return [];
  const lossType = dpo.loss_type.find(isCoupled);
  const text = training_type !== "sft" && training_type !== "dpo"
    ? `cuts the steps of SFT and DPO; ${training_type.toUpperCase()} samples for each ` +
      "micro-batch, remove it and lower per_device_train_batch_size"
    : training_type === "dpo" && lossType !== undefined
    ? `does not go with dpo.loss_type ${lossType}, whose loss depends on how the rows are cut; ` +
      "remove it and lower per_device_train_batch_size"
    : token_budget !== null || image_budget !== null
    ? "halves batches of rows, and a budget cuts by tokens or pictures; remove one of the two"
    : training.gradient_overlap
    ? "repeats a step whose gradients training.gradient_overlap has sent in part; remove one of " +
      "the two"
    : loss_reduction === "micro_batch"
    ? "needs loss_reduction token: a mean of micro-batch means would depend on how the rows are cut"
    : null;
  return text === null ? [] : [{ key, text }];
}
