/**
 * Contains, the metric of OCRBench: whether an accepted answer stands in the prediction.
 *
 * Case, line ends and full-width forms of ASCII do not count. In the style `no_spaces`, for formulas
 * (HME100k), spaces do not count and case does.
 *
 * Source: Liu et al., OCRBench (2023); values as `ocrbench_process_results` of lmms-eval.
 *
 * @module
 */
import { strip } from "./python_text.ts";

/** How texts are compared. */
export type ContainsStyle = "text" | "no_spaces";

/** Full-width ASCII and the ideographic space as ASCII. */
function halfWidth(text: string): string {
  return text.replace(
    /[\uff01-\uff5e]/g,
    (character) => String.fromCharCode(character.charCodeAt(0) - 0xfee0),
  ).replaceAll("\u3000", " ");
}

const COMPARABLE = {
  text: (text: string) => strip(halfWidth(text).toLowerCase()).replaceAll("\n", " "),
  no_spaces: (text: string) => strip(text).replace(/[\n ]/g, ""),
};

/**
 * Whether one of the answers stands in the prediction.
 *
 * @returns 0 or 1
 */
export function contains(
  prediction: string,
  answers: readonly string[],
  style: ContainsStyle = "text",
): number {
  const comparable = COMPARABLE[style];
  const text = comparable(strip(prediction));
  return answers.some((answer) => text.includes(comparable(answer))) ? 1 : 0;
}
