/**
 * Which answers a metric accepts for a question.
 *
 * @module
 */
import { type Cell, cellText, isList, isStruct, type Row } from "../data/rows/row.ts";

/** A list of texts, or of VQAv2's `{answer, …}` structs; null for anything else. */
function textsOf(cell: Cell | undefined): string[] | null {
  if (!isList(cell) || cell.length === 0) return null;
  const texts = cell.map((entry) => cellText(isStruct(entry) ? entry.answer : entry));
  return texts.every((text) => text !== null) ? texts : null;
}

/**
 * The accepted answers of a turn: those of the column `answers`, else the turn's own answer.
 *
 * `answers` is a list of texts, or of structs with a text `answer`, for a row of one turn. With
 * several turns it is a list with such a list for each turn.
 *
 * @param columns the row's other columns
 * @param turn index of the question in its row
 * @param turns questions of the row
 * @param expected the turn's own answer
 */
export function acceptedAnswers(
  columns: Row,
  turn: number,
  turns: number,
  expected: string,
): readonly string[] {
  const cell = columns.answers;
  if (turns === 1) {
    const texts = textsOf(cell);
    if (texts !== null) return texts;
  }
  if (isList(cell) && cell.length === turns) return textsOf(cell[turn]) ?? [expected];
  return [expected];
}
