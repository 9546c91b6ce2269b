/**
 * Checks of the section `dpo` that need more than one key.
 *
 * @module
 */
import { hasPairWeights } from "../../../losses/dpo_inputs.ts";
import {
  isReferenceFreeLoss,
  needsNoReference,
} from "../../../losses/dpo_reference_free_losses.ts";
import { isKTOLoss } from "../../../losses/kto.ts";
import type { DPOSection, ResolvedConfig } from "../../types/config_types.ts";
import type { Finding } from "../finding.ts";
import { referenceSyncProblems } from "./reference_sync.ts";

/** Mistakes in the section `dpo`. */
export function dpoProblems(config: ResolvedConfig): Finding[] {
  const { dpo, dataset } = config;
  const following = referenceSyncProblems(config, "dpo", dpo);
  if (dpo.loss_type.some(isKTOLoss)) return [...ktoProblems(config), ...following];
  const problems: Finding[] = [...following, ...fixedReferenceProblems(dpo)];
  if (dpo.loss_type.includes("exo_pair") && dpo.label_smoothing === 0) {
    problems.push({
      key: "dpo.label_smoothing",
      text: "got 0, want a number above 0 for loss_type exo_pair, which takes the logarithm of " +
        "it (the paper: 1e-3)",
    });
  }
  if (dataset.streaming && dpo.precompute_ref_log_probs) {
    problems.push({
      key: "dpo.precompute_ref_log_probs",
      text: "a streamed data set has no row numbers to keep log-probabilities by; remove it, or " +
        "set dataset.streaming to false",
    });
  }
  if (dataset.streaming && dpo.ref_model_name_or_path !== null) {
    problems.push({
      key: "dpo.ref_model_name_or_path",
      text: "wants the log-probabilities kept by row, which a streamed data set does not number; " +
        "set dataset.streaming to false",
    });
  }
  if (dpo.loss_weights.length !== dpo.loss_type.length) {
    problems.push({
      key: "dpo.loss_weights",
      text: `got ${dpo.loss_weights.length} weights, want one for each of the ` +
        `${dpo.loss_type.length} losses of loss_type`,
    });
  }
  const free = dpo.loss_type.find(isReferenceFreeLoss);
  const unweighted = dpo.loss_type.find((type) => isKTOLoss(type) || !hasPairWeights(type));
  if (dpo.ld_alpha !== null && free !== undefined) {
    problems.push({
      key: "dpo.ld_alpha",
      text: `got ${dpo.ld_alpha}, but loss_type ${free} has no weights of tokens; want null`,
    });
  }
  if (dpo.use_weighting && unweighted !== undefined) {
    problems.push({
      key: "dpo.use_weighting",
      text: `got true, but loss_type ${unweighted} has no weights of pairs; want false`,
    });
  }
  if (free !== undefined && (dpo.ref_model_name_or_path !== null || dpo.precompute_ref_log_probs)) {
    if (dpo.loss_type.every((type) => type === "sft" || isReferenceFreeLoss(type))) {
      problems.push({
        key: "dpo.loss_type",
        text: `got ${dpo.loss_type.join(", ")}, which needs no reference; remove ` +
          "ref_model_name_or_path and precompute_ref_log_probs",
      });
    }
  }
  if (dpo.reference_free && (dpo.ref_model_name_or_path !== null || dpo.precompute_ref_log_probs)) {
    problems.push({
      key: "dpo.reference_free",
      text: "excludes ref_model_name_or_path and precompute_ref_log_probs; remove one of them",
    });
  }
  return problems;
}

/** Settings that a reference that follows the policy excludes. */
function fixedReferenceProblems(dpo: DPOSection): Finding[] {
  if (!dpo.sync_ref_model) return [];
  const refuse = (text: string) => [{ key: "dpo.sync_ref_model", text: `got true, ${text}` }];
  if (dpo.precompute_ref_log_probs) {
    return refuse(
      "but precompute_ref_log_probs keeps the numbers of a fixed reference; want one of them",
    );
  }
  if (dpo.ref_model_name_or_path !== null) {
    return refuse(
      "but a reference that follows the policy begins as the policy; leave out " +
        "ref_model_name_or_path",
    );
  }
  if (dpo.reference_free || needsNoReference(dpo.loss_type)) {
    return refuse("but no loss here has a reference; want false");
  }
  return [];
}

/** What the losses of single answers do not have: the value that leaves it out. */
const NOT_OF_KTO: readonly (readonly [key: keyof DPOSection, off: unknown])[] = [
  ["label_smoothing", 0],
  ["ld_alpha", null],
  ["use_weighting", false],
  ["reference_free", false],
  ["precompute_ref_log_probs", false],
  ["ref_model_name_or_path", null],
  ["f_divergence_type", "reverse_kl"],
];

function ktoProblems({ dpo, training }: ResolvedConfig): Finding[] {
  const [type] = dpo.loss_type;
  const problems: Finding[] = [];
  if (dpo.loss_type.length > 1) {
    const name = dpo.loss_type.find(isKTOLoss);
    const text =
      `got ${dpo.loss_type.join(", ")}; ${name} takes single answers, and no other loss ` +
      "beside it";
    problems.push({ key: "dpo.loss_type", text });
  }
  for (const [key, off] of NOT_OF_KTO) {
    if (dpo[key] === off) continue;
    problems.push({
      key: `dpo.${key}`,
      text: `got ${dpo[key]}, which loss_type ${type} does not read; want ${off}`,
    });
  }
  const { per_device_train_batch_size: size, gradient_accumulation_steps: steps } = training;
  const together = training.loss_reduction === "token" ? size * steps : size;
  if (type === "kto" && together < 2) {
    problems.push({
      key: "training.per_device_train_batch_size",
      text: "got 1 answer a step, want 2 or more: kto estimates its divergence from prompts with " +
        "the answers of others; raise gradient_accumulation_steps",
    });
  }
  return problems;
}
