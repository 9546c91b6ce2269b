/**
 * Rows of prompts, for GRPO.
 *
 * @module
 */
import { RowSkipped } from "../data_error.ts";
import { SYSTEM_COLUMNS, systemColumn, withSystem } from "./conversation.ts";
import { type FormatReader, type GrpoExample, missingColumns, without } from "./format_reader.ts";
import { readPrompt } from "./prompt_cell.ts";

/** The prompt of a row as reward functions get it: messages, or the user's text. */
export function rewardPrompt(
  { prompt, conversational }: Pick<GrpoExample, "prompt" | "conversational">,
): string | { role: string; content: string }[] {
  if (conversational) return prompt.map(({ role, content }) => ({ role, content }));
  return prompt.at(-1)?.content ?? ""; // a system column stands before it
}

/** Reader of `dataset_format: grpo`. */
export const grpo: FormatReader<GrpoExample> = {
  textColumns: ["prompt", ...SYSTEM_COLUMNS],
  checkColumns(columns, origin) {
    if (!columns.includes("prompt")) {
      const wanted = { format: "grpo", wanted: "prompt", key: "prompt" } as const;
      throw missingColumns(wanted, columns, origin);
    }
  },
  read(row) {
    const { messages, places, conversational } = readPrompt(row.prompt, "prompt");
    if (messages.at(-1)?.role !== "user") throw new RowSkipped("no prompt");
    // A system column reaches the reward functions too, as every other column.
    const prompt = withSystem(messages, systemColumn(row));
    return { examples: [{ prompt, conversational, columns: without(row, ["prompt"]) }], places };
  },
};
