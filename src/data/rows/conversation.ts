/**
 * Conversations as data sets write them, brought to one form.
 *
 * @module
 */
import { RowSkipped } from "../data_error.ts";
import { type Cell, cellText, describeCell, isList, isStruct } from "./row.ts";

/** A question and its answer. */
export interface Turn {
  /** What the user says. */
  readonly user: string;
  /** What the model is to answer. */
  readonly assistant: string;
}

/** A message of a chat. */
export interface ChatMessage {
  /** Who speaks. */
  readonly role: "system" | "user" | "assistant";
  /** What is said. */
  readonly content: string;
}

const ROLES: Readonly<Record<string, ChatMessage["role"]>> = {
  system: "system",
  user: "user",
  human: "user",
  assistant: "assistant",
  gpt: "assistant",
  model: "assistant",
  bot: "assistant",
  chatgpt: "assistant",
};

/** A cell, parsed if it is text that holds a JSON list or object, as in CSV files. */
export function parsedCell(cell: Cell | undefined): Cell | undefined {
  const text = cellText(cell)?.trim();
  if (text === undefined || !/^[[{]/.test(text)) return cell;
  try {
    return JSON.parse(text);
  } catch {
    return cell;
  }
}

/**
 * A list of `{role, content}` or ShareGPT `{from, value}` objects. Content may be a list of parts;
 * image parts and `<image>` marks are dropped, since images come before the first user's text.
 *
 * @param cell the column's value
 * @param column its name, for messages
 * @throws {RowSkipped} if it is none
 */
export function readMessages(cell: Cell | undefined, column: string): ChatMessage[] {
  const list = parsedCell(cell);
  if (!isList(list)) throw new RowSkipped(`${column} holds ${describeCell(cell)}, want messages`);
  return list.map((item, i) => {
    const name = `${column}[${i}]`;
    if (!isStruct(item)) {
      throw new RowSkipped(`${name} holds ${describeCell(item)}, want {role, content}`);
    }
    const speaker = cellText(item.role ?? item.from);
    const role = speaker === null ? undefined : ROLES[speaker.toLowerCase()];
    if (role === undefined) {
      throw new RowSkipped(
        `${name} is said by ${describeCell(item.role ?? item.from)}, want user or assistant`,
      );
    }
    return { role, content: messageText(item.content ?? item.value, name) };
  });
}

function messageText(cell: Cell | undefined, name: string): string {
  const text = cellText(cell);
  if (text !== null) return withoutImageMarks(text);
  if (!isList(cell)) throw new RowSkipped(`${name} says ${describeCell(cell)}, want text`);
  const texts: string[] = [];
  for (const part of cell) {
    const plain = cellText(part);
    if (plain !== null) texts.push(plain);
    else if (isStruct(part)) {
      const type = part.type ?? (part.text === undefined ? "image" : "text");
      if (type === "text") texts.push(cellText(part.text) ?? cellText(part.content) ?? "");
      else if (type !== "image" && type !== "image_url") {
        throw new RowSkipped(
          `${name} has a part of type ${describeCell(type)}, want text or image`,
        );
      }
    }
  }
  return withoutImageMarks(texts.filter((piece) => piece !== "").join("\n"));
}

function withoutImageMarks(text: string): string {
  return text.includes("<image>") ? text.replace(/\n?<image>\n?/g, "") : text;
}

/**
 * Messages as turns; a system message goes before the first question. Several messages of one
 * speaker in a row are joined; a question with no answer at the end is left out.
 *
 * @throws {RowSkipped} if there is no answer
 */
export function messagesToTurns(messages: readonly ChatMessage[]): Turn[] {
  const turns: Turn[] = [];
  let user: string[] = [];
  let assistant: string[] = [];
  const flush = () => {
    if (assistant.length === 0) return;
    turns.push({ user: user.join("\n"), assistant: assistant.join("\n") });
    user = [];
    assistant = [];
  };
  for (const { role, content } of messages) {
    if (role === "assistant") {
      if (user.length === 0 && assistant.length === 0) {
        throw new RowSkipped("the assistant speaks before the user");
      }
      assistant.push(content);
    } else {
      flush();
      user.push(content);
    }
  }
  flush();
  return checkTurns(turns);
}

/**
 * The `texts` column: a list of `{user, assistant}`, one such object, or an object of two lists.
 *
 * @throws {RowSkipped} if there is no answer
 */
export function readTurns(cell: Cell | undefined, column: string): Turn[] {
  const value = parsedCell(cell);
  let list: readonly Cell[];
  if (isList(value)) list = value;
  else if (isStruct(value) && isList(value.user) && isList(value.assistant)) {
    const answers = value.assistant;
    list = value.user.map((user, i) => ({ user, assistant: answers[i] ?? null }));
  } else if (isStruct(value)) list = [value];
  else throw new RowSkipped(`${column} holds ${describeCell(cell)}, want [{user, assistant}]`);
  return checkTurns(list.map((item, i) => {
    if (!isStruct(item)) {
      throw new RowSkipped(`${column}[${i}] holds ${describeCell(item)}, want {user, assistant}`);
    }
    const user = cellText(item.user);
    const assistant = cellText(item.assistant);
    if (user === null) {
      throw new RowSkipped(`${column}[${i}].user holds ${describeCell(item.user)}, want text`);
    }
    if (assistant === null) throw new RowSkipped("no answer");
    return { user, assistant };
  }));
}

function checkTurns(turns: Turn[]): Turn[] {
  if (turns.length === 0) throw new RowSkipped("no text");
  if (turns.some((turn) => turn.assistant.trim() === "")) throw new RowSkipped("no answer");
  return turns;
}
