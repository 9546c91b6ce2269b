/**
 * A metric of `eval` as a reward: the score of the answer (between `<answer>` tags, or the whole
 * completion if there are none) against the row's accepted answers.
 *
 * @module
 */
import { type MetricName, scoreAnswer } from "../../src/evaluate/metrics/score_answer.ts";
import type { RewardContext } from "../../src/rewards/types.ts";
import { answerOrAll, column } from "./completion_text.ts";

/** A list of texts, or of VQAv2's `{answer}`; a single value is a list of one. */
function acceptedTexts(cell: unknown): string[] {
  return (Array.isArray(cell) ? cell : [cell]).map((one) =>
    typeof one === "object" && one !== null && "answer" in one ? String(one.answer) : String(one)
  );
}

/**
 * The reward of a metric. A row without an answer gets null.
 *
 * @param metric its name
 * @param url the module's `import.meta.url`, whose query may set `style` and `choices` (`A,B,C`)
 */
export function metricReward(
  metric: MetricName,
  url: string,
): (context: RewardContext) => (number | null)[] {
  const { searchParams } = new URL(url);
  const style = searchParams.get("style") ?? undefined;
  const choices = searchParams.get("choices")?.split(",");
  return (context) => {
    const accepted = column(context, "answers", "answer", "solution");
    return context.completions.map((completion, i) => {
      const cell = accepted?.[i];
      if (cell === null || cell === undefined || (Array.isArray(cell) && cell.length === 0)) {
        return null;
      }
      return scoreAnswer(metric, answerOrAll(completion), acceptedTexts(cell), { style, choices });
    });
  };
}
