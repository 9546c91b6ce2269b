import { assertEquals, assertThrows } from "@std/assert";
import {
  type ChatMessage,
  messagesToTurns,
  readConversation,
  readMessages,
  readTurns,
  turnMessages,
} from "../../../src/data/rows/conversation.ts";
import { RowSkipped } from "../../../src/data/data_error.ts";
import type { Cell } from "../../../src/data/rows/row.ts";

const TURNS = [{ user: "What?", assistant: "A cat." }, { user: "Where?", assistant: "There." }];

Deno.test("readTurns() takes lists, one object, an object of lists, and JSON text", () => {
  assertEquals(readTurns(TURNS, "texts"), TURNS);
  assertEquals(readTurns(TURNS[0], "texts"), [TURNS[0]]);
  assertEquals(
    readTurns({ user: ["What?", "Where?"], assistant: ["A cat.", "There."] }, "texts"),
    TURNS,
  );
  assertEquals(readTurns(JSON.stringify(TURNS), "texts"), TURNS);
});

Deno.test("readMessages() reads ShareGPT, chat messages and lists of parts alike", () => {
  const sharegpt = [
    { from: "human", value: "<image>\nWhat?" },
    { from: "gpt", value: "A cat." },
    { from: "human", value: "Where?" },
    { from: "gpt", value: "There." },
  ];
  const chat: Cell = [
    { role: "user", content: [{ type: "image" }, { type: "text", text: "What?" }] },
    { role: "assistant", content: [{ type: "text", text: "A cat." }] },
    { role: "user", content: "Where?" },
    { role: "assistant", content: "There." },
  ];
  assertEquals(messagesToTurns(readMessages(sharegpt, "conversations")), TURNS);
  const [first, second] = TURNS;
  const placed = [{ ...first, pictures: [0] }, second];
  assertEquals(messagesToTurns(readMessages(chat, "messages")), placed);
  assertEquals(messagesToTurns(readMessages(JSON.stringify(chat), "messages")), placed);
});

Deno.test("readMessages() reads parts as parquet has them, with a null for every other kind", () => {
  const content: Cell = [{ type: "image", text: null }, { type: "text", text: "What?" }];
  assertEquals(readMessages([{ role: "user", content }], "messages"), [
    { role: "user", content: "What?", pictures: [0] },
  ]);
});

Deno.test("messagesToTurns() keeps a system message apart from the question", () => {
  assertEquals(
    messagesToTurns([
      { role: "system", content: "Be brief." },
      { role: "user", content: "What?" },
      { role: "assistant", content: "A cat." },
      { role: "user", content: "left unanswered" },
    ]),
    [{ system: "Be brief.", user: "What?", assistant: "A cat." }],
  );
});

const bad: [string, () => unknown, string][] = [
  ["no turns", () => readTurns([], "texts"), "no text"],
  ["null", () => readTurns(null, "texts"), "texts holds null"],
  ["a blank answer", () => readTurns([{ user: "?", assistant: " " }], "texts"), "no answer"],
  ["no answer", () => readTurns([{ user: "?" }], "texts"), "no answer"],
  [
    "a number",
    () => readTurns([{ user: 3, assistant: "x" }], "texts"),
    "texts[0].user holds number",
  ],
  [
    "a strange role",
    () => readMessages([{ role: "tool", content: "x" }], "m"),
    'said by the text "tool"',
  ],
  [
    "an assistant who starts",
    () => messagesToTurns([{ role: "assistant", content: "Hi" }]),
    "before the user",
  ],
  ["only a question", () => messagesToTurns([{ role: "user", content: "Hi" }]), "no text"],
];
for (const [what, run, reason] of bad) {
  Deno.test(`a row with ${what} is skipped with its reason`, () => {
    assertThrows(run, RowSkipped, reason);
  });
}

Deno.test("readConversation() finds the pictures beside a message's content, as Ollama has them", () => {
  const { messages, places } = readConversation(
    [{ role: "user", content: "What?", images: ["a.png", "b.png"] }],
    "messages",
  );
  assertEquals(places, ["a.png", "b.png"]);
  assertEquals(messages, [{ role: "user", content: "What?", pictures: [0, 0] }]);
});

Deno.test("an answer with a picture, and a weight between 0 and 1, skip the row by name", () => {
  const picture: Cell = [{ type: "image", image: "a.png" }];
  assertThrows(
    () => readConversation([{ role: "assistant", content: picture }], "m"),
    RowSkipped,
    "m[0] is an answer with a picture",
  );
  assertThrows(
    () => readConversation([{ role: "assistant", content: "a", weight: 0.5 }], "m"),
    RowSkipped,
    "m[0] has the weight number 0.5, want 0 or 1",
  );
});

Deno.test("turnMessages() is the inverse of messagesToTurns()", () => {
  const messages: ChatMessage[] = [
    { role: "system", content: "S" },
    { role: "user", content: "a", pictures: [1] },
    { role: "assistant", content: "b", weight: 0 },
    { role: "user", content: "c" },
    { role: "assistant", content: "d" },
  ];
  assertEquals(turnMessages(messagesToTurns(messages)), messages);
});
