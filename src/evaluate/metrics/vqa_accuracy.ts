/**
 * VQA's soft accuracy, the metric of VQAv2 and TextVQA: an answer is right if three people gave it.
 *
 * With the answers a_1 … a_n of n people: the mean over i of min(1, m_i / 3), where m_i is the number
 * of the other people's answers that equal the prediction in normal form.
 *
 * Source: Antol et al., VQA (2015), section 3; values as `vqav2_process_results` and
 * `textvqa_process_results` of lmms-eval.
 *
 * @module
 */
import { exactMean } from "./exact_mean.ts";
import { normalTextVqaAnswer, normalVqaV2Answer } from "./vqa_answer.ts";

/** Which benchmark's normal form is compared. */
export type VqaStyle = "vqav2" | "textvqa";

const NORMAL_FORM = { vqav2: normalVqaV2Answer, textvqa: normalTextVqaAnswer };
/** So many people make an answer right. */
const ENOUGH = 3;

/**
 * Share of people whose answer the prediction is, from three people on in full.
 *
 * @param answers of all people, repeated ones included; at least one
 * @returns 0 … 1
 */
export function vqaAccuracy(
  prediction: string,
  answers: readonly string[],
  style: VqaStyle,
): number {
  const normal = NORMAL_FORM[style];
  const given = normal(prediction);
  const matches = answers.map((answer) => normal(answer) === given);
  const count = matches.filter(Boolean).length;
  return exactMean(matches.map((own) => Math.min(1, (count - (own ? 1 : 0)) / ENOUGH)));
}
