/**
 * Rows of a prompt with one answer and whether it is a good one, for KTO. A row with a better and a
 * worse answer gives two examples, as TRL's `unpair_preference_dataset` does.
 *
 * @module
 */
import { RowSkipped } from "../data_error.ts";
import { SYSTEM_COLUMNS, systemColumn, withSystem } from "./conversation.ts";
import {
  type FormatReader,
  isThere,
  missingColumns,
  type UnpairedExample,
  without,
} from "./format_reader.ts";
import { preference } from "./preference_format.ts";
import { readAnswer, readInstruction, readPrompt } from "./prompt_cell.ts";
import { type Cell, describeCell } from "./row.ts";

const PROMPT = ["prompt", "question", "instruction", "query"] as const;
const COMPLETION = "completion";
const LABEL = "label";

/** Whether an answer is good: true and false, 1 and 0, and their spellings. */
function readLabel(cell: Cell | undefined): boolean {
  const text = String(cell).trim().toLowerCase();
  if (["true", "1"].includes(text)) return true;
  if (["false", "0"].includes(text)) return false;
  if (!isThere(cell)) throw new RowSkipped("no label");
  throw new RowSkipped(`label holds ${describeCell(cell)}, want true or false`);
}

/** Reader of `dataset_format: preference` for KTO. */
export const unpaired: FormatReader<UnpairedExample> = {
  textColumns: [...preference.textColumns, COMPLETION, LABEL],
  checkColumns(columns, origin) {
    if (columns.includes(COMPLETION) && columns.includes(LABEL)) return;
    if (columns.includes(COMPLETION) || columns.includes(LABEL)) {
      const key = columns.includes(COMPLETION) ? LABEL : COMPLETION;
      throw missingColumns({ format: "unpaired", wanted: key, key }, columns, origin);
    }
    preference.checkColumns(columns, origin);
  },
  read(row, splitTurns) {
    if (!isThere(row[COMPLETION]) && !isThere(row[LABEL])) {
      const { examples, ...rest } = preference.read(row, splitTurns);
      return {
        ...rest,
        examples: examples.flatMap(({ prompt, chosen, rejected, columns }) => [
          { prompt, columns, completion: chosen, desirable: true },
          { prompt, columns, completion: rejected, desirable: false },
        ]),
      };
    }
    const { answer, before, places } = readAnswer(row[COMPLETION], COMPLETION);
    const desirable = readLabel(row[LABEL]);
    const column = PROMPT.find((name) => isThere(row[name]));
    const prompt = column === undefined
      ? { messages: before, places }
      : column === "instruction"
      ? readInstruction(row, column)
      : readPrompt(row[column], column);
    if (prompt.messages.at(-1)?.role !== "user") throw new RowSkipped("no prompt");
    const used = [...PROMPT, COMPLETION, LABEL, ...SYSTEM_COLUMNS];
    return {
      examples: [{
        prompt: withSystem(prompt.messages, systemColumn(row)),
        completion: answer,
        desirable,
        columns: without(row, used),
      }],
      places: prompt.places,
    };
  },
};
