/**
 * Conversations as data sets write them, brought to one form.
 *
 * @module
 */
import { RowSkipped } from "../data_error.ts";
import { countImageMarks, withoutImageMarks } from "./image_marks.ts";
import { type PicturePlace, readContent } from "./message_parts.ts";
import {
  type Cell,
  cellText,
  describeCell,
  isList,
  isStruct,
  type Row,
  scalarText,
} from "./row.ts";

/** A question and its answer. */
export interface Turn {
  /** The user's text. */
  readonly user: string;
  /** The answer to learn. */
  readonly assistant: string;
  /** What the system says before the question, if anything. */
  readonly system?: string;
  /** 0: the answer carries no loss. */
  readonly weight?: 0;
  /** Where in the user's text its pictures stand, in characters; else before the first text. */
  readonly pictures?: readonly number[];
}

/** A message of a chat. */
export interface ChatMessage {
  /** Who speaks. */
  readonly role: "system" | "user" | "assistant";
  /** The text. */
  readonly content: string;
  /** 0: the answer carries no loss. */
  readonly weight?: 0;
  /** Where in the content its pictures stand, in characters; else before the first user's text. */
  readonly pictures?: readonly number[];
}

/** Messages, and the pictures that they have places for, in order. */
export interface Conversation {
  readonly messages: readonly ChatMessage[];
  readonly places: readonly PicturePlace[];
}

const ROLES: Readonly<Record<string, ChatMessage["role"]>> = {
  system: "system",
  developer: "system",
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
 * A list of `{role, content}` or ShareGPT `{from, value}` objects, or one object of such lists, as
 * `datasets` stores sequences of structs.
 *
 * `<image>` marks of users and systems are taken out and counted; answers are never edited.
 *
 * @param cell the column's value
 * @param column its name, for messages
 * @throws {RowSkipped} if it is none of these
 */
export function readConversation(cell: Cell | undefined, column: string): Conversation {
  const list = messageList(parsedCell(cell));
  if (list === null) throw new RowSkipped(`${column} holds ${describeCell(cell)}, want messages`);
  const places: PicturePlace[] = [];
  let positioned = true;
  const messages = list.map((item, i): ChatMessage => {
    const name = `${column}[${i}]`;
    if (!isStruct(item)) {
      throw new RowSkipped(`${name} holds ${describeCell(item)}, want {role, content}`);
    }
    const role = roleOf(item, name);
    const content = readContent(
      item.content ?? item.value ?? item.text,
      role === "assistant",
      name,
    );
    const own = ownPictures(item);
    if (role === "assistant" && own.length + content.places.length > 0) {
      throw new RowSkipped(`${name} is an answer with a picture, want text`);
    }
    places.push(...own, ...content.places);
    if (content.offsets === null) positioned = false;
    const offsets = [...own.map(() => 0), ...content.offsets ?? []];
    const weight = role === "assistant" ? weightOf(item, name) : 1;
    return {
      role,
      content: content.text,
      ...(weight === 0 ? { weight } : {}),
      ...(offsets.length > 0 ? { pictures: offsets } : {}),
    };
  });
  // Marks say how many pictures there are; only parts say where each one stands.
  if (positioned) return { messages, places };
  return { messages: messages.map(({ pictures: _, ...message }) => message), places };
}

/** The messages of a conversation alone; see {@linkcode readConversation}. */
export function readMessages(cell: Cell | undefined, column: string): readonly ChatMessage[] {
  return readConversation(cell, column).messages;
}

/** Lists as they are; `{role: [...], content: [...]}` as a list of objects. */
function messageList(value: Cell | undefined): readonly Cell[] | null {
  if (isList(value)) return value;
  if (!isStruct(value)) return null;
  const lists = Object.entries(value).filter(([, cell]) => isList(cell)) as [string, Cell[]][];
  const speakers = value.role ?? value.from;
  if (!isList(speakers)) return null;
  return speakers.map((_, i) =>
    Object.fromEntries(lists.map(([name, cells]) => [name, cells[i] ?? null]))
  );
}

function roleOf(item: { readonly [key: string]: Cell }, name: string): ChatMessage["role"] {
  const speaker = cellText(item.role ?? item.from);
  const role = speaker === null ? undefined : ROLES[speaker.toLowerCase()];
  if (role !== undefined) return role;
  throw new RowSkipped(
    `${name} is said by ${describeCell(item.role ?? item.from)}, want user or assistant`,
  );
}

/** Pictures beside the content of a message, as Ollama has them. */
function ownPictures(item: { readonly [key: string]: Cell }): readonly PicturePlace[] {
  const cell = item.images ?? item.image ?? null;
  if (isList(cell)) return cell.filter((one) => one !== null);
  return cell === null || cell === "" ? [] : [cell];
}

/** OpenAI's `weight`, ms-swift's `loss`, axolotl's `train`. */
function weightOf(item: { readonly [key: string]: Cell }, name: string): 0 | 1 {
  const weight = item.weight ?? item.loss ?? item.train ?? null;
  if (weight === null || weight === 1 || weight === true || weight === "1") return 1;
  if (weight === 0 || weight === false || weight === "0") return 0;
  throw new RowSkipped(`${name} has the weight ${describeCell(weight)}, want 0 or 1`);
}

/**
 * Messages as turns. Several messages of one speaker in a row are joined; a question with no
 * answer at the end is left out.
 *
 * @throws {RowSkipped} if there is no answer, or none with a loss
 */
export function messagesToTurns(messages: readonly ChatMessage[]): Turn[] {
  const turns: Turn[] = [];
  let system: string[] = [];
  let user: ChatMessage[] = [];
  let assistant: ChatMessage[] = [];
  const flush = () => {
    if (assistant.length === 0) return;
    const { text, pictures } = joined(user);
    turns.push({
      user: text,
      assistant: assistant.map(({ content }) => content).join("\n"),
      ...(system.length > 0 ? { system: system.join("\n") } : {}),
      ...(assistant.every(({ weight }) => weight === 0) ? { weight: 0 } : {}),
      ...(pictures.length > 0 ? { pictures } : {}),
    });
    system = [];
    user = [];
    assistant = [];
  };
  for (const message of messages) {
    if (message.role === "assistant") {
      if (user.length === 0 && assistant.length === 0) {
        throw new RowSkipped("the assistant speaks before the user");
      }
      if (assistant.length > 0 && assistant[0].weight !== message.weight) {
        throw new RowSkipped("two answers in a row have different weights");
      }
      assistant.push(message);
    } else {
      flush();
      if (message.role === "user") user.push(message);
      else if (user.length > 0) throw new RowSkipped("the system speaks after the user's question");
      else system.push(message.content);
    }
  }
  flush();
  return checkTurns(turns);
}

/** Texts with a line break between two, and where their pictures stand. */
function joined(messages: readonly ChatMessage[]): { text: string; pictures: number[] } {
  let text = "";
  const pictures: number[] = [];
  messages.forEach((message, i) => {
    if (i > 0) text += "\n";
    const start = text.length;
    pictures.push(...(message.pictures ?? []).map((offset) => start + offset));
    text += message.content;
  });
  return { text, pictures };
}

/** Turns as messages: the inverse of {@linkcode messagesToTurns}. */
export function turnMessages(turns: readonly Turn[]): ChatMessage[] {
  return turns.flatMap(({ system, user, assistant, weight, pictures }): ChatMessage[] => [
    ...(system === undefined ? [] : [{ role: "system" as const, content: system }]),
    { role: "user", content: user, ...(pictures === undefined ? {} : { pictures }) },
    { role: "assistant", content: assistant, ...(weight === undefined ? {} : { weight }) },
  ]);
}

/** Messages behind a system message, unless they begin with one of their own. */
export function withSystem(
  messages: readonly ChatMessage[],
  system: string | null,
): readonly ChatMessage[] {
  if (system === null || messages[0]?.role === "system") return messages;
  return [{ role: "system", content: system }, ...messages];
}

/** The text of a column `system` or `system_prompt`; null if there is none. */
export function systemColumn(row: Row): string | null {
  for (const name of SYSTEM_COLUMNS) {
    const text = cellText(row[name]);
    if (text !== null && text.trim() !== "") return text;
  }
  return null;
}

/** The columns that hold a system message. */
export const SYSTEM_COLUMNS = ["system", "system_prompt"] as const;

/**
 * A user's text out of a column, its `<image>` marks counted and taken out.
 *
 * @param cell the column's value
 * @param name of it, for messages
 * @throws {RowSkipped} if it is not text
 */
export function readQuestion(
  cell: Cell | undefined,
  name: string,
): { text: string; places: PicturePlace[] } {
  const text = cellText(cell);
  if (text === null) throw new RowSkipped(`${name} holds ${describeCell(cell)}, want text`);
  const places = new Array<PicturePlace>(countImageMarks(text)).fill(null);
  return { text: withoutImageMarks(text), places };
}

/**
 * The `texts` column: a list of `{user, assistant}`, one such object, or an object of two lists.
 *
 * @throws {RowSkipped} if there is no answer
 */
export function readTurnList(
  cell: Cell | undefined,
  column: string,
): { turns: Turn[]; places: PicturePlace[] } {
  const value = parsedCell(cell);
  let list: readonly Cell[];
  if (isList(value)) list = value;
  else if (isStruct(value) && isList(value.user) && isList(value.assistant)) {
    const answers = value.assistant;
    const systems = isList(value.system) ? value.system : [];
    list = value.user.map((user, i) => ({
      user,
      assistant: answers[i] ?? null,
      system: systems[i] ?? null,
    }));
  } else if (isStruct(value)) list = [value];
  else throw new RowSkipped(`${column} holds ${describeCell(cell)}, want [{user, assistant}]`);
  const places: PicturePlace[] = [];
  const turns = list.map((item, i): Turn => {
    if (!isStruct(item)) {
      throw new RowSkipped(`${column}[${i}] holds ${describeCell(item)}, want {user, assistant}`);
    }
    const question = readQuestion(item.user, `${column}[${i}].user`);
    places.push(...question.places);
    const assistant = scalarText(item.assistant);
    if (assistant === null) {
      throw new RowSkipped(
        item.assistant === null || item.assistant === undefined
          ? "no answer"
          : `${column}[${i}].assistant holds ${describeCell(item.assistant)}, want text`,
      );
    }
    const system = cellText(item.system);
    return {
      user: question.text,
      assistant,
      ...(system === null || system === "" ? {} : { system }),
      ...(weightOf(item, `${column}[${i}]`) === 0 ? { weight: 0 } : {}),
    };
  });
  return { turns: checkTurns(turns), places };
}

/** The turns of a column `texts` alone; see {@linkcode readTurnList}. */
export function readTurns(cell: Cell | undefined, column: string): Turn[] {
  return readTurnList(cell, column).turns;
}

function checkTurns(turns: Turn[]): Turn[] {
  if (turns.length === 0) throw new RowSkipped("no text");
  if (turns.some((turn) => turn.assistant.trim() === "")) throw new RowSkipped("no answer");
  if (turns.every((turn) => turn.weight === 0)) {
    throw new RowSkipped("every answer has the weight 0");
  }
  return turns;
}
