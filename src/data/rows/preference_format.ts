/**
 * Rows of a prompt with a better and a worse answer, for DPO.
 *
 * Sources: TRL's `maybe_extract_prompt`, and the preference forms of LLaMA-Factory and ms-swift.
 *
 * @module
 */
import { RowSkipped } from "../data_error.ts";
import {
  type ChatMessage,
  type Conversation,
  readConversation,
  SYSTEM_COLUMNS,
  systemColumn,
  withSystem,
} from "./conversation.ts";
import {
  type FormatReader,
  isThere,
  missingColumns,
  type PreferenceExample,
  without,
} from "./format_reader.ts";
import { type Answer, readAnswer, readInstruction, readPrompt } from "./prompt_cell.ts";
import type { Cell, Row } from "./row.ts";

const PROMPT = ["prompt", "question", "instruction", "query"] as const;
const CHOSEN = ["chosen", "chosen_answer", "winner_answer", "chosen_response"] as const;
const REJECTED = [
  "rejected",
  "rejected_answer",
  "loser_answer",
  "rejected_response",
  "rejected_messages",
] as const;
/** Conversations up to the answer (LLaMA-Factory), or up to and with the better one (ms-swift). */
const CONVERSATIONS = ["messages", "conversations"] as const;

/** Reader of `dataset_format: preference`. */
export const preference: FormatReader<PreferenceExample> = {
  textColumns: [
    ...PROMPT,
    ...CHOSEN,
    ...REJECTED,
    ...CONVERSATIONS,
    ...SYSTEM_COLUMNS,
    "input",
    "history",
  ],
  checkColumns(columns, origin) {
    const has = (names: readonly string[]) => names.some((name) => columns.includes(name));
    const hasChosen = has(CHOSEN) || has(CONVERSATIONS);
    if (hasChosen && has(REJECTED)) return;
    const key = hasChosen ? "rejected" : "chosen";
    const names = hasChosen ? REJECTED : CHOSEN;
    const wanted = { format: "preference", wanted: names.slice(0, 3).join(", "), key } as const;
    throw missingColumns(wanted, columns, origin);
  },
  read(row) {
    const rejectedColumn = firstFilled(row, REJECTED);
    if (rejectedColumn === undefined) {
      if (firstFilled(row, CHOSEN) === undefined) throw new RowSkipped("no chosen answer");
      throw new RowSkipped("no rejected answer");
    }
    const chosenColumn = firstFilled(row, CHOSEN) ??
      CONVERSATIONS.find((name) => isThere(row[name]));
    if (chosenColumn === undefined) throw new RowSkipped("no chosen answer");
    const chosen = readAnswer(row[chosenColumn], chosenColumn);
    const rejected = readAnswer(row[rejectedColumn], rejectedColumn);
    const promptColumn = PROMPT.find((name) => isThere(row[name]));
    const conversation = CONVERSATIONS.find((name) =>
      name !== chosenColumn && promptColumn === undefined && isThere(row[name])
    );
    const history = historyOf(chosen, rejected);
    const prompt = promptColumn !== undefined
      ? joinPrompt(promptOf(row, promptColumn), history)
      : conversation !== undefined
      ? joinPrompt(readConversation(row[conversation], conversation), history)
      : history;
    if (prompt.messages.at(-1)?.role !== "user") throw new RowSkipped("no prompt");
    const used = [
      ...PROMPT,
      ...CHOSEN,
      ...REJECTED,
      ...SYSTEM_COLUMNS,
      ...(promptColumn === "instruction" ? ["input"] : []),
      ...[chosenColumn, conversation].filter((name) => name !== undefined),
    ];
    return {
      examples: [{
        prompt: withSystem(prompt.messages, systemColumn(row)),
        chosen: chosen.answer,
        rejected: rejected.answer,
        columns: without(row, used),
      }],
      places: prompt.places,
    };
  },
};

function firstFilled<N extends string>(row: Row, names: readonly N[]): N | undefined {
  return names.find((name) => isThere(row[name]) && (row[name] as Cell) !== "");
}

function promptOf(row: Row, column: string): Conversation {
  return column === "instruction" ? readInstruction(row, column) : readPrompt(row[column], column);
}

/** The conversation that stands before both answers. */
function historyOf(chosen: Answer, rejected: Answer): Conversation {
  const [own, other] = [chosen.before, rejected.before];
  if (own.length > 0 && other.length > 0 && !startsWith(own, other, own.length === other.length)) {
    throw new RowSkipped("chosen and rejected start with different prompts");
  }
  const { before, places } = own.length > 0 ? chosen : rejected;
  return { messages: before, places };
}

/**
 * A prompt and the conversation before the answers, as one. The conversation begins with the
 * prompt, perhaps behind a system message, or it continues the prompt.
 *
 * @throws {RowSkipped} if it does neither
 */
function joinPrompt(prompt: Conversation, history: Conversation): Conversation {
  const [own, before] = [prompt.messages, history.messages];
  if (before.length === 0) return prompt;
  const places = history.places.length > 0 ? history.places : prompt.places;
  if (startsWith(before, own)) return { messages: before, places };
  const system = before[0].role === "system" ? before.slice(0, 1) : [];
  if (system.length > 0 && startsWith(before.slice(1), own)) return { messages: before, places };
  if (own[0]?.role === "system" && startsWith(before, own.slice(1))) {
    return { messages: [own[0], ...before], places };
  }
  if (before[0].role === "assistant" && own.at(-1)?.role === "user") {
    return { messages: [...own, ...before], places: [...prompt.places, ...history.places] };
  }
  throw new RowSkipped("the prompt is not how chosen and rejected begin");
}

function startsWith(
  messages: readonly ChatMessage[],
  first: readonly ChatMessage[],
  sameLength = true,
): boolean {
  return sameLength && first.length <= messages.length &&
    first.every(({ role, content }, i) =>
      messages[i].role === role && messages[i].content.trim() === content.trim()
    );
}
