import { cellText, type Row } from "../rows/row.ts";
import { askWithInstruction } from "./think_answer_instruction.ts";

/**
 * `problem` as `prompt`, after the think-and-answer instruction; `solution` and all other columns
 * stay, for the rewards. Rows that have a `prompt` and no `problem` stay as they are.
 */
export function problemToPrompt(row: Row): Row {
  const problem = cellText(row.problem);
  if (problem === null && row.prompt !== undefined) return row;
  return { ...row, prompt: problem === null ? null : askWithInstruction(problem) };
}
