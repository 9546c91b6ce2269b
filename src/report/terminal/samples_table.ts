import { formatTable } from "./console_table.ts";
import type { EvaluationSample } from "../evaluation_sample.ts";
import { printable, truncateToWidth } from "./terminal_text.ts";

/**
 * The table of sample answers that a run and `eval` print.
 *
 * @param samples questions with expected and given answers
 * @param limit how many to show; default: all
 * @param width the columns of the terminal
 * @returns lines, each ended by a line break
 */
export function formatSamples(
  samples: readonly EvaluationSample[],
  limit: number = samples.length,
  width = 100,
): string {
  return formatTable(
    [{ header: "question", lines: 2 }, { header: "expected" }, { header: "answer", lines: 2 }, {
      header: "",
    }],
    samples.slice(0, limit).map((sample) => [
      sample.question,
      sample.expected,
      sample.answer,
      sample.correct === null ? "" : sample.correct ? "right" : "wrong",
    ]),
    width,
  );
}

/** Columns that a question or an answer may take in a line. */
const TEXT_WIDTH = 40;

/** One sample answer as a line: `  Which shape is this? square (right)`. */
export function sampleLine({ question, expected, answer, correct }: EvaluationSample): string {
  const short = (text: string) => truncateToWidth(printable(text), TEXT_WIDTH);
  const verdict = correct === true
    ? " (right)"
    : expected === null
    ? ""
    : ` (expected: ${short(expected)})`;
  return `  ${short(question)} ${answer === "" ? "(no answer)" : short(answer)}${verdict}`;
}
