/**
 * Replays `losses/dpo.json`: losses, gradients and metrics from given log-probabilities.
 *
 * @module
 */
import { dpoLoss, type DPOLossType } from "../../losses/dpo.ts";
import type { FDivergence } from "../../losses/f_divergence.ts";
import { compareNumbers, readRecorded, type RecordedNumber } from "../compare_numbers.ts";
import { compareRecord, type Numbers, readJson, RECORDED } from "../recorded_numbers.ts";
import type { ParityResult } from "../result.ts";

interface DpoCase {
  loss_type?: DPOLossType;
  loss_types?: DPOLossType[];
  loss_weights?: number[] | null;
  beta: number;
  label_smoothing?: number;
  reference_free?: boolean;
  f_divergence_type?: FDivergence;
  f_alpha_divergence_coef?: number;
  discopop_tau?: number;
  loss: number;
  losses?: Numbers;
  chosen_rewards?: Numbers;
  rejected_rewards?: Numbers;
  grad_chosen_logps?: Numbers;
  grad_rejected_logps?: Numbers;
  metrics?: Record<string, RecordedNumber>;
}

interface DpoFile {
  policy_chosen_logps: Numbers;
  policy_rejected_logps: Numbers;
  ref_chosen_logps: Numbers;
  ref_rejected_logps: Numbers;
  chosen_lengths: number[];
  rejected_lengths: number[];
  lab: DpoCase[];
  lab_list_of_losses?: DpoCase;
  trl: DpoCase[];
}

/** Replays `losses/dpo.json`. */
export async function replayDpoCases(directory: string): Promise<ParityResult[]> {
  const file = await readJson<DpoFile>(directory, "losses/dpo.json");
  const inputs = {
    chosenLogProbs: file.policy_chosen_logps.map(readRecorded),
    rejectedLogProbs: file.policy_rejected_logps.map(readRecorded),
    refChosenLogProbs: file.ref_chosen_logps.map(readRecorded),
    refRejectedLogProbs: file.ref_rejected_logps.map(readRecorded),
    chosenLengths: file.chosen_lengths,
    rejectedLengths: file.rejected_lengths,
  };
  const results: ParityResult[] = [];
  const replay = (name: string, recorded: DpoCase, isLab: boolean, hasRewards: boolean) => {
    const lossTypes = recorded.loss_types ?? [recorded.loss_type ?? "sigmoid"];
    const result = dpoLoss(inputs, {
      lossTypes,
      lossWeights: recorded.loss_weights ?? undefined,
      beta: recorded.beta,
      // TRL ignores label smoothing in sigmoid; NanoVLM-Lab and this project apply it.
      labelSmoothing: !isLab && lossTypes.join() === "sigmoid" ? 0 : recorded.label_smoothing ?? 0,
      referenceFree: recorded.reference_free ?? false,
      fDivergence: recorded.f_divergence_type,
      alphaDivergenceCoefficient: recorded.f_alpha_divergence_coef,
      discopopTau: recorded.discopop_tau,
      ipoNormalization: isLab ? "none" : "token",
    });
    const compare = (quantity: string, actual: ArrayLike<number>, expected?: Numbers) => {
      if (expected === undefined) return;
      results.push(compareNumbers(name, quantity, actual, expected.map(readRecorded), RECORDED));
    };
    compare("loss", [result.loss], [recorded.loss]);
    if (recorded.losses) compare("losses", result.losses ?? [], recorded.losses);
    compare("gradient chosen", result.gradChosenLogProbs, recorded.grad_chosen_logps);
    compare("gradient rejected", result.gradRejectedLogProbs, recorded.grad_rejected_logps);
    if (hasRewards) {
      compare("chosen rewards", result.chosenRewards, recorded.chosen_rewards);
      compare("rejected rewards", result.rejectedRewards, recorded.rejected_rewards);
    }
    results.push(
      ...compareRecord(name, "metric", result.metrics, recorded.metrics ?? {}, RECORDED),
    );
  };
  const label = (recorded: DpoCase) => {
    const { loss_type, loss_types, beta, label_smoothing, reference_free, f_divergence_type } =
      recorded;
    const settings = { beta, label_smoothing, reference_free, f_divergence_type };
    return `${loss_types?.join("+") ?? loss_type} ${JSON.stringify(settings)}`;
  };
  for (const recorded of file.lab) replay(`dpo/lab ${label(recorded)}`, recorded, true, true);
  for (const recorded of file.trl) replay(`dpo/trl ${label(recorded)}`, recorded, false, true);
  // NanoVLM-Lab adds up the rewards of every loss type; ours are the rewards, so only losses
  // compare.
  const list = file.lab_list_of_losses;
  if (list) replay(`dpo/lab list ${label(list)}`, list, true, false);
  return results;
}
