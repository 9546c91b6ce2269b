import { cellText, type Row } from "../rows/row.ts";
import { askWithInstruction } from "./think_answer_instruction.ts";

/**
 * `problem` and `solution` as a conversation of one turn in `texts`: the think-and-answer
 * instruction with the problem, then the solution, in answer tags if it has none. Rows that have
 * `texts` and no `problem` stay as they are.
 */
export function problemToTexts(row: Row): Row {
  const problem = cellText(row.problem);
  const solution = cellText(row.solution);
  if (problem === null && row.texts !== undefined) return row;
  if (problem === null || solution === null || solution.trim() === "") {
    return { ...row, texts: null };
  }
  const answer = /<answer>/i.test(solution) ? solution : `<answer> ${solution.trim()} </answer>`;
  return { ...row, texts: [{ user: askWithInstruction(problem), assistant: answer }] };
}
