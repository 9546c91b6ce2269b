/**
 * Rows of questions and answers, for SFT.
 *
 * @module
 */
import { RowSkipped } from "../data_error.ts";
import {
  messagesToTurns,
  readConversation,
  readTurnList,
  SYSTEM_COLUMNS,
  systemColumn,
  type Turn,
  withSystem,
} from "./conversation.ts";
import {
  type FormatReader,
  isThere,
  missingColumns,
  type VqaExample,
  without,
} from "./format_reader.ts";
import type { PicturePlace } from "./message_parts.ts";
import { readAnswer, readHistory, readInstruction, readPrompt } from "./prompt_cell.ts";
import { isList, type Row, scalarText } from "./row.ts";

/** Columns that hold whole conversations. */
const CONVERSATIONS = ["conversations", "messages", "conversation"] as const;
/** Columns of one question and its answer: ours, TRL's, ms-swift's and Alpaca's. */
const PAIRS = [
  ["user", "assistant"],
  ["question", "answer"],
  ["prompt", "completion"],
  ["query", "response"],
  ["prompt", "response"],
  ["instruction", "output"],
  ["question", "response"],
] as const;

/** Reader of `dataset_format: vqa`. */
export const vqa: FormatReader<VqaExample> = {
  textColumns: [
    "texts",
    ...CONVERSATIONS,
    ...PAIRS.flat(),
    ...SYSTEM_COLUMNS,
    "input",
    "history",
  ],
  checkColumns(columns, origin) {
    const has = (...names: string[]) => names.every((name) => columns.includes(name));
    if (has("texts") || CONVERSATIONS.some((name) => has(name))) return;
    if (PAIRS.some((pair) => has(...pair))) return;
    const wanted = {
      format: "vqa",
      wanted: "texts, conversations or messages",
      key: "texts",
    } as const;
    throw missingColumns(wanted, columns, origin);
  },
  read(row, splitTurns) {
    const { turns, used, places } = readVqaTurns(row);
    const columns = without(row, used);
    if (!splitTurns) return { examples: [{ turns, columns }], places };
    let system: string | undefined;
    const examples = turns.flatMap((turn, i) => {
      system = turn.system === undefined
        ? system
        : system === undefined
        ? turn.system
        : `${system}\n${turn.system}`;
      if (turn.weight === 0) return [];
      const alone = system === undefined ? turn : { ...turn, system };
      return [{ turns: [alone], columns: ofTurn(columns, i, turns.length) }];
    });
    return { examples, places };
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

interface VqaTurns {
  readonly turns: readonly Turn[];
  readonly used: readonly string[];
  readonly places: readonly PicturePlace[];
}

function readVqaTurns(row: Row): VqaTurns {
  const system = systemColumn(row);
  const also = system === null ? [] : SYSTEM_COLUMNS;
  if (isThere(row.texts)) {
    const { turns, places } = readTurnList(row.texts, "texts");
    const [first, ...rest] = turns;
    const headed = system === null || first.system !== undefined ? first : { ...first, system };
    return { turns: [headed, ...rest], used: ["texts", ...also], places };
  }
  for (const column of CONVERSATIONS) {
    if (!isThere(row[column])) continue;
    const { messages, places } = readConversation(row[column], column);
    const turns = messagesToTurns(withSystem(messages, system));
    return { turns, used: [column, ...also], places };
  }
  for (const [user, assistant] of PAIRS) {
    if (!isThere(row[user]) || row[assistant] === undefined) continue;
    const { turns, places } = readPair(row, user, assistant, system);
    return { turns, used: [user, assistant, ...also, ...fillers(user)], places };
  }
  throw new RowSkipped("no text");
}

/** Further columns that are part of a question. */
function fillers(user: string): readonly string[] {
  if (user === "instruction") return ["input", "history"];
  return user === "query" ? ["history"] : [];
}

function readPair(
  row: Row,
  user: string,
  assistant: string,
  system: string | null,
): { turns: Turn[]; places: readonly PicturePlace[] } {
  if (user === "prompt") {
    const prompt = readPrompt(row[user], user);
    const { answer, before } = readAnswer(row[assistant], assistant);
    const messages = [
      ...prompt.messages,
      ...before,
      { role: "assistant" as const, content: answer },
    ];
    return { turns: messagesToTurns(withSystem(messages, system)), places: prompt.places };
  }
  const filled = fillers(user);
  const history = readHistory(filled.includes("history") ? row.history : null);
  const { messages, places } = readInstruction(row, user);
  const answer = scalarText(row[assistant]);
  if (answer === null || answer.trim() === "") {
    if (typeof row[assistant] !== "object") throw new RowSkipped("no answer");
    readAnswer(row[assistant], assistant); // names what it holds instead
    throw new RowSkipped("no answer");
  }
  const all = [
    ...history.messages,
    ...messages,
    { role: "assistant" as const, content: answer },
  ];
  return {
    turns: messagesToTurns(withSystem(all, system)),
    places: [...history.places, ...places],
  };
}
