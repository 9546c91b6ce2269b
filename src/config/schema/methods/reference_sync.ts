/**
 * The keys of a reference that follows the policy, in the sections `dpo` and `grpo`.
 *
 * @module
 */
import type { ReferenceSyncKeys, ResolvedConfig } from "../../types/config_types.ts";
import { boolean, integer, number } from "../../types/scalar_types.ts";
import { same, type Table } from "../../types/value_type.ts";
import type { Finding } from "../finding.ts";

/**
 * The three keys.
 *
 * @param source TRL's class
 */
export function referenceSyncKeys(source: string): Table<ReferenceSyncKeys> {
  return {
    sync_ref_model: {
      type: boolean(),
      default: same(false),
      source,
      meaning: "Let the reference follow the policy (TR-DPO): every `ref_model_sync_steps` " +
        "optimizer steps it becomes `ref_model_mixup_alpha` times the policy's weights plus the " +
        "rest of its own. Whole models alone, no LoRA.",
    },
    ref_model_mixup_alpha: {
      type: number({ min: 0, max: 1 }),
      default: same(0.6),
      source,
      meaning: "The policy's share of the new reference; 1 replaces it.",
    },
    ref_model_sync_steps: {
      type: integer({ min: 1 }),
      default: same(512),
      source,
      meaning: "Optimizer steps between two updates of the reference.",
    },
  };
}

/** What stands in the way of a reference that follows the policy. */
export function referenceSyncProblems(
  { model }: ResolvedConfig,
  section: "dpo" | "grpo",
  keys: ReferenceSyncKeys,
): Finding[] {
  if (!keys.sync_ref_model || !model.use_lora) return [];
  return [{
    key: `${section}.sync_ref_model`,
    text: "got true, want false with model.use_lora: the reference is the base model without its " +
      "adapter, which has no weights of its own to update; set sync_ref_model to false, or " +
      "use_lora to false",
  }];
}
