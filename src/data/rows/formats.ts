/**
 * The three kinds of example, and how each is read out of a row.
 *
 * @module
 */
import {
  type ChatMessage,
  messagesToTurns,
  parsedCell,
  readMessages,
  readTurns,
  type Turn,
} from "./conversation.ts";
import { DataError, RowSkipped } from "../data_error.ts";
import { type EncodedImage, IMAGE_COLUMNS } from "./image_cell.ts";
import { nearestName } from "../../config/nearest.ts";
import { type Cell, cellText, describeCell, isList, type Row } from "./row.ts";

/** The format of a data set: `dataset.dataset_format`. */
export type DatasetFormat = "vqa" | "preference" | "grpo";

/** For SFT: pictures, then questions with their answers. */
export interface VqaExample {
  /** The pictures, before the first question. */
  readonly images: readonly EncodedImage[];
  /** At least one. */
  readonly turns: readonly Turn[];
  /** The other columns of the row. */
  readonly columns: Row;
}

/** For DPO: a prompt, a better and a worse answer. */
export interface PreferenceExample {
  /** The pictures, before the first user's text. */
  readonly images: readonly EncodedImage[];
  /** The conversation up to the answer; its last message is the user's. */
  readonly prompt: readonly ChatMessage[];
  /** The better answer. */
  readonly chosen: string;
  /** The worse answer. */
  readonly rejected: string;
  /** The other columns of the row. */
  readonly columns: Row;
}

/** For GRPO: a prompt, and what the reward functions are told. */
export interface GrpoExample {
  /** The pictures, before the first user's text. */
  readonly images: readonly EncodedImage[];
  /** The conversation up to the answer; its last message is the user's. */
  readonly prompt: readonly ChatMessage[];
  /** Whether the data has chat messages rather than a string; rewards then get messages too. */
  readonly conversational: boolean;
  /** Every other column, which reaches the reward functions by its name. */
  readonly columns: Row;
}

/** The example that a format gives. */
export type ExampleOf<F extends DatasetFormat> = F extends "vqa" ? VqaExample
  : F extends "preference" ? PreferenceExample
  : GrpoExample;

/** An example without its pictures. */
type TextOf<E> = Omit<E, "images">;

/** Reads rows of one format. */
export interface FormatReader<E> {
  /**
   * Checks that the columns it needs are there.
   *
   * @throws {DataError} if one is not, naming those there are and the nearest
   */
  checkColumns(columns: readonly string[], origin: string): void;
  /**
   * The texts of a row, one entry an example.
   *
   * @throws {RowSkipped} if the row cannot be used
   */
  read(row: Row, splitTurns: boolean): TextOf<E>[];
}

const ALIASES = {
  prompt: ["prompt", "question"],
  chosen: ["chosen", "chosen_answer", "winner_answer"],
  rejected: ["rejected", "rejected_answer", "loser_answer"],
} as const;

const vqa: FormatReader<VqaExample> = {
  checkColumns(columns, origin) {
    const has = (...names: string[]) => names.every((name) => columns.includes(name));
    if (
      has("texts") || has("conversations") || has("messages") || has("user", "assistant") ||
      has("question", "answer")
    ) return;
    throw missing("vqa", "texts, conversations or messages", "texts", columns, origin);
  },
  read(row, splitTurns) {
    const { turns, used } = readVqaTurns(row);
    const columns = without(row, used);
    if (!splitTurns) return [{ turns, columns }];
    return turns.map((turn, i) => ({ turns: [turn], columns: ofTurn(columns, i, turns.length) }));
  },
};

/** The other columns for one turn: of a list with an entry a turn, its own entry. */
function ofTurn(columns: Row, index: number, turns: number): Row {
  return Object.fromEntries(
    Object.entries(columns).map(([name, cell]) => [
      name,
      isList(cell) && cell.length === turns ? cell[index] : cell,
    ]),
  );
}

function readVqaTurns(row: Row): { turns: Turn[]; used: string[] } {
  if (isThere(row.texts)) return { turns: readTurns(row.texts, "texts"), used: ["texts"] };
  for (const column of ["conversations", "messages"]) {
    if (isThere(row[column])) {
      return { turns: messagesToTurns(readMessages(row[column], column)), used: [column] };
    }
  }
  for (const [user, assistant] of [["user", "assistant"], ["question", "answer"]]) {
    if (!isThere(row[user])) continue;
    const turn = { user: row[user], assistant: row[assistant] ?? null };
    return { turns: readTurns([turn], `${user} and ${assistant}`), used: [user, assistant] };
  }
  throw new RowSkipped("no text");
}

const preference: FormatReader<PreferenceExample> = {
  checkColumns(columns, origin) {
    for (const name of ["chosen", "rejected"] as const) {
      if (!ALIASES[name].some((alias) => columns.includes(alias))) {
        throw missing("preference", ALIASES[name].join(", "), name, columns, origin);
      }
    }
  },
  read(row) {
    const [chosenColumn, chosenCell] = firstFilled(row, ALIASES.chosen);
    const [rejectedColumn, rejectedCell] = firstFilled(row, ALIASES.rejected);
    const promptColumn = ALIASES.prompt.find((name) => isThere(row[name]));
    const chosen = readAnswer(chosenCell, chosenColumn);
    const rejected = readAnswer(rejectedCell, rejectedColumn);
    let prompt: readonly ChatMessage[];
    if (promptColumn !== undefined) {
      prompt = [...readPrompt(row[promptColumn], promptColumn).messages];
      // A conversation that repeats the prompt before the answer says nothing new.
    } else {
      prompt = chosen.before;
      if (JSON.stringify(prompt) !== JSON.stringify(rejected.before)) {
        throw new RowSkipped("chosen and rejected start with different prompts");
      }
    }
    if (prompt.at(-1)?.role !== "user") throw new RowSkipped("no prompt");
    const used = [...ALIASES.prompt, ...ALIASES.chosen, ...ALIASES.rejected];
    return [{
      prompt,
      chosen: chosen.answer,
      rejected: rejected.answer,
      columns: without(row, used),
    }];
  },
};

function firstFilled(row: Row, names: readonly string[]): [string, Cell] {
  for (const name of names) {
    const cell = row[name];
    if (isThere(cell) && cell !== "") return [name, cell];
  }
  throw new RowSkipped(`no ${names[0]} answer`);
}

/** An answer, as text or as messages that end in it, with what was said before. */
function readAnswer(
  cell: Cell,
  column: string,
): { answer: string; before: readonly ChatMessage[] } {
  const value = parsedCell(cell);
  if (isList(value)) {
    const messages = readMessages(value, column);
    const last = messages.at(-1);
    if (last?.role !== "assistant" || last.content.trim() === "") {
      throw new RowSkipped(`no ${column} answer`);
    }
    return { answer: last.content, before: messages.slice(0, -1) };
  }
  const answer = cellText(cell);
  if (answer === null) {
    throw new RowSkipped(`${column} holds ${describeCell(cell)}, want text or messages`);
  }
  if (answer.trim() === "") throw new RowSkipped(`no ${column} answer`);
  return { answer, before: [] };
}

const grpo: FormatReader<GrpoExample> = {
  checkColumns(columns, origin) {
    if (!columns.includes("prompt")) throw missing("grpo", "prompt", "prompt", columns, origin);
  },
  read(row) {
    const { messages, conversational } = readPrompt(row.prompt, "prompt");
    if (messages.at(-1)?.role !== "user") throw new RowSkipped("no prompt");
    return [{ prompt: messages, conversational, columns: without(row, ["prompt"]) }];
  },
};

function readPrompt(
  cell: Cell | undefined,
  column: string,
): { messages: readonly ChatMessage[]; conversational: boolean } {
  const value = parsedCell(cell);
  if (isList(value)) return { messages: readMessages(value, column), conversational: true };
  const content = cellText(cell);
  if (content === null) {
    if (!isThere(cell)) throw new RowSkipped("no prompt");
    throw new RowSkipped(`${column} holds ${describeCell(cell)}, want text or messages`);
  }
  if (content.trim() === "") throw new RowSkipped("no prompt");
  return { messages: [{ role: "user", content }], conversational: false };
}

const READERS: { readonly [F in DatasetFormat]: FormatReader<ExampleOf<F>> } = {
  vqa,
  preference,
  grpo,
};

/** The reader of a format. */
export function formatReader<F extends DatasetFormat>(format: F): FormatReader<ExampleOf<F>> {
  return READERS[format];
}

function isThere(cell: Cell | undefined): cell is Exclude<Cell, null> {
  return cell !== null && cell !== undefined;
}

function without(row: Row, used: readonly string[]): Row {
  const hidden = new Set<string>([...used, ...IMAGE_COLUMNS]);
  return Object.fromEntries(Object.entries(row).filter(([name]) => !hidden.has(name)));
}

function missing(
  format: DatasetFormat,
  wanted: string,
  key: string,
  columns: readonly string[],
  origin: string,
): DataError {
  const nearest = nearestName(key, columns);
  return new DataError(
    `Cannot read ${origin} as ${format}: want a column ${wanted}, got ${
      columns.join(", ") || "no columns"
    }${nearest === undefined ? "" : ` (nearest: ${nearest})`}; ` +
      `rename one with dataset.rename_columns, or make it in dataset.preprocessing_fn`,
  );
}
