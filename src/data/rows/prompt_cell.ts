/**
 * Prompts and single answers, as text or as messages.
 *
 * @module
 */
import { RowSkipped } from "../data_error.ts";
import {
  type ChatMessage,
  type Conversation,
  parsedCell,
  readConversation,
  readQuestion,
} from "./conversation.ts";
import type { PicturePlace } from "./message_parts.ts";
import {
  type Cell,
  cellText,
  describeCell,
  isList,
  isStruct,
  type Row,
  scalarText,
} from "./row.ts";

/** A prompt, and whether the data has it as messages. */
export interface Prompt extends Conversation {
  readonly conversational: boolean;
}

/**
 * A prompt: text, which the user says, or messages.
 *
 * @param column its name, for messages
 * @throws {RowSkipped} if it is neither, or blank
 */
export function readPrompt(cell: Cell | undefined, column: string): Prompt {
  const value = parsedCell(cell);
  if (isList(value) || isMessages(value)) {
    return { ...readConversation(value, column), conversational: true };
  }
  if (cell === null || cell === undefined) throw new RowSkipped("no prompt");
  if (cellText(cell) === null) {
    throw new RowSkipped(`${column} holds ${describeCell(cell)}, want text or messages`);
  }
  const { text, places } = readQuestion(cell, column);
  if (text.trim() === "" && places.length === 0) throw new RowSkipped("no prompt");
  return { messages: [{ role: "user", content: text }], places, conversational: false };
}

/** An answer, with the conversation that stands before it. */
export interface Answer {
  readonly answer: string;
  readonly before: readonly ChatMessage[];
  readonly places: readonly PicturePlace[];
}

/**
 * An answer: text, a number, one message, or messages that end in it.
 *
 * @param column its name, for messages
 * @throws {RowSkipped} if it is none of these, or blank
 */
export function readAnswer(cell: Cell | undefined, column: string): Answer {
  const value = parsedCell(cell);
  const isOneMessage = isStruct(value) && !isMessages(value) &&
    (value.role !== undefined || value.from !== undefined);
  if (isList(value) || isMessages(value) || isOneMessage) {
    const { messages, places } = readConversation(isOneMessage ? [value] : value, column);
    const last = messages.at(-1);
    if (last?.role !== "assistant" || last.content.trim() === "") {
      throw new RowSkipped(`no ${column} answer`);
    }
    return { answer: last.content, before: messages.slice(0, -1), places };
  }
  const answer = scalarText(cell);
  if (answer === null && cell !== null && cell !== undefined && typeof cell !== "number") {
    throw new RowSkipped(`${column} holds ${describeCell(cell)}, want text or messages`);
  }
  if (answer === null || answer.trim() === "") throw new RowSkipped(`no ${column} answer`);
  return { answer, before: [], places: [] };
}

/** An object of lists, one entry a message. */
function isMessages(value: Cell | undefined): boolean {
  return isStruct(value) && (isList(value.role) || isList(value.from));
}

/**
 * Alpaca's `instruction` with its `input` on the lines below.
 *
 * @param column `instruction`, or a column that serves as it
 */
export function readInstruction(row: Row, column: string): Conversation {
  const instruction = readQuestion(row[column], column);
  const input = column === "instruction" ? scalarText(row.input) : null;
  const more = input === null || input.trim() === "" ? null : readQuestion(input, "input");
  const content = more === null ? instruction.text : `${instruction.text}\n${more.text}`;
  if (content.trim() === "") throw new RowSkipped("no prompt");
  return {
    messages: [{ role: "user", content }],
    places: [...instruction.places, ...more?.places ?? []],
  };
}

/**
 * The column `history` of Alpaca and ms-swift: pairs of a question and its answer.
 *
 * @throws {RowSkipped} if it holds something else
 */
export function readHistory(cell: Cell | undefined): Conversation {
  const value = parsedCell(cell);
  if (value === null || value === undefined || value === "") return { messages: [], places: [] };
  const wrong = () =>
    new RowSkipped(`history holds ${describeCell(cell)}, want pairs [question, answer]`);
  if (!isList(value)) throw wrong();
  const messages: ChatMessage[] = [];
  const places: PicturePlace[] = [];
  for (const pair of value) {
    if (!isList(pair) || pair.length !== 2) throw wrong();
    const question = readQuestion(pair[0], "history");
    const answer = scalarText(pair[1]);
    if (answer === null) throw wrong();
    places.push(...question.places);
    messages.push({ role: "user", content: question.text }, { role: "assistant", content: answer });
  }
  return { messages, places };
}
