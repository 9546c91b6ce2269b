import { assertEquals, assertThrows } from "@std/assert";
import { DataError, RowSkipped } from "../../../src/data/data_error.ts";
import { rewardPrompt } from "../../../src/data/rows/grpo_format.ts";
import { formatReader } from "../../../src/data/rows/formats.ts";
import type { Cell, Row } from "../../../src/data/rows/row.ts";

const turn = { user: "What?", assistant: "A cat." };

Deno.test("vqa reads texts, conversations, messages, and a question with its answer", () => {
  const rows: Row[] = [
    { texts: [turn] },
    { conversations: [{ from: "human", value: "What?" }, { from: "gpt", value: "A cat." }] },
    {
      messages: [{ role: "user", content: "What?" }, { role: "assistant", content: "A cat." }],
    },
    { question: "What?", answer: "A cat." },
    { user: "What?", assistant: "A cat." },
  ];
  for (const row of rows) {
    const vqa = formatReader("vqa");
    vqa.checkColumns(Object.keys(row), "x");
    assertEquals(vqa.read({ ...row, image: null, kind: "animal" }, false).examples, [
      { turns: [turn], columns: { kind: "animal" } },
    ]);
  }
});

Deno.test("vqa gives one example per turn if turns are split", () => {
  const { examples } = formatReader("vqa").read(
    { texts: [turn, { ...turn, user: "Who?" }] },
    true,
  );
  assertEquals(examples.map((example) => example.turns.map((t) => t.user)), [["What?"], ["Who?"]]);
});

const question: Cell = [{ role: "user", content: "What?" }];
const answered = (text: string): Cell => [{ role: "assistant", content: text }];
const preferences: [string, Row][] = [
  ["prompt, chosen, rejected", { prompt: "What?", chosen: "good", rejected: "bad" }],
  ["question and NanoVLM-Lab's *_answer", {
    question: "What?",
    chosen_answer: "good",
    rejected_answer: "bad",
  }],
  ["winner and loser", { prompt: "What?", winner_answer: "good", loser_answer: "bad" }],
  ["an empty column before its alias", {
    prompt: "What?",
    chosen: null,
    chosen_answer: "good",
    rejected: "",
    rejected_answer: "bad",
  }],
  ["chat messages", { prompt: question, chosen: answered("good"), rejected: answered("bad") }],
  ["whole conversations with no prompt column", {
    chosen: [...question, { role: "assistant", content: "good" }],
    rejected: [...question, { role: "assistant", content: "bad" }],
  }],
];
for (const [what, row] of preferences) {
  Deno.test(`preference reads ${what}`, () => {
    const preference = formatReader("preference");
    preference.checkColumns(Object.keys(row), "x");
    assertEquals(preference.read(row, false).examples, [{
      prompt: [{ role: "user", content: "What?" }],
      chosen: "good",
      rejected: "bad",
      columns: {},
    }]);
  });
}

Deno.test("grpo passes every further column through by its name", () => {
  const grpo = formatReader("grpo");
  const row: Row = { prompt: "What?", solution: "4", level: 3, image: null, options: ["a", "b"] };
  assertEquals(grpo.read(row, false).examples, [{
    prompt: [{ role: "user", content: "What?" }],
    conversational: false,
    columns: { solution: "4", level: 3, options: ["a", "b"] },
  }]);
  assertEquals(grpo.read({ prompt: question }, false).examples[0].conversational, true);
});

Deno.test("reward functions get the user's text, or messages without places of pictures", () => {
  const read = (row: Row) => formatReader("grpo").read(row, false).examples[0];
  assertEquals(rewardPrompt(read({ prompt: "What?", system: "S" })), "What?");
  const content: Cell = [{ type: "image" }, { type: "text", text: "What?" }];
  assertEquals(rewardPrompt(read({ prompt: [{ role: "user", content }], images: ["a"] })), [
    { role: "user", content: "What?" },
  ]);
});

const skips: [string, "vqa" | "preference" | "grpo", Row, string][] = [
  ["no text", "vqa", { texts: null }, "no text"],
  ["no prompt", "grpo", { prompt: null }, "no prompt"],
  ["a blank prompt", "grpo", { prompt: "  " }, "no prompt"],
  ["a prompt that is a number", "grpo", { prompt: 4 }, "prompt holds number 4"],
  ["no chosen", "preference", { prompt: "?", rejected: "bad" }, "no chosen answer"],
  ["a blank rejected", "preference", { prompt: "?", chosen: "a", rejected: " " }, "no rejected"],
  ["no prompt at all", "preference", { chosen: "a", rejected: "b" }, "no prompt"],
  [
    "two prompts",
    "preference",
    {
      chosen: [...question, { role: "assistant", content: "a" }],
      rejected: [{ role: "user", content: "Who?" }, { role: "assistant", content: "b" }],
    },
    "different prompts",
  ],
];
for (const [what, format, row, reason] of skips) {
  Deno.test(`${format} skips a row with ${what}`, () => {
    assertThrows(() => formatReader(format).read(row, false), RowSkipped, reason);
  });
}

Deno.test("checkColumns() names the columns found, and the nearest", () => {
  const error = assertThrows(
    () => formatReader("preference").checkColumns(["image", "promt", "chosn", "rejected"], "x"),
    DataError,
  );
  assertEquals(
    error.message,
    "Cannot read x as preference: want a column chosen, chosen_answer, winner_answer, got image, " +
      "promt, chosn, rejected (nearest: chosn); rename one with dataset.rename_columns, or make " +
      "it in dataset.preprocessing_fn",
  );
});

Deno.test("a split turn keeps its own entry of a column with one entry a turn", () => {
  const row = {
    texts: [{ user: "What?", assistant: "a cat" }, { user: "Where?", assistant: "left" }],
    answer_type: ["animal", "place"],
    source: "drawn",
  };
  const types = formatReader("vqa").read(row, true).examples.map(({ columns }) => columns);
  assertEquals(types, [
    { answer_type: "animal", source: "drawn" },
    { answer_type: "place", source: "drawn" },
  ]);
});

// Forms of preference rows that other libraries write; each asks "What?" and wants good over bad.
const foreign: [string, Row][] = [
  ["LLaMA-Factory's ShareGPT", {
    conversations: [{ from: "human", value: "What?" }],
    chosen: { from: "gpt", value: "good" },
    rejected: { from: "gpt", value: "bad" },
  }],
  ["LLaMA-Factory's Alpaca", { instruction: "What?", input: "", chosen: "good", rejected: "bad" }],
  ["ms-swift's rejected_response", {
    messages: [{ role: "user", content: "What?" }, { role: "assistant", content: "good" }],
    rejected_response: "bad",
  }],
  ["ms-swift's rejected_messages", {
    messages: [{ role: "user", content: "What?" }, { role: "assistant", content: "good" }],
    rejected_messages: [{ role: "user", content: "What?" }, { role: "assistant", content: "bad" }],
  }],
  ["messages as an object of lists", {
    chosen: { role: ["user", "assistant"], content: ["What?", "good"] },
    rejected: { role: ["user", "assistant"], content: ["What?", "bad"] },
  }],
  ["answers of one conversation and one text", {
    prompt: "What?",
    chosen: [...question, { role: "assistant", content: "good" }],
    rejected: "bad",
  }],
];
for (const [what, row] of foreign) {
  Deno.test(`preference reads ${what}`, () => {
    const preference = formatReader("preference");
    preference.checkColumns(Object.keys(row), "x");
    assertEquals(preference.read(row, false).examples, [{
      prompt: [{ role: "user", content: "What?" }],
      chosen: "good",
      rejected: "bad",
      columns: {},
    }]);
  });
}

// Forms of SFT rows that other libraries write.
const pairs: [string, Row][] = [
  ["TRL's prompt and completion", { prompt: "What?", completion: "A cat." }],
  ["TRL's prompt and completion as messages", {
    prompt: question,
    completion: answered("A cat."),
  }],
  ["Alpaca", { instruction: "What?", input: "", output: "A cat." }],
  ["ms-swift's query and response", { query: "What?", response: "A cat.", history: [] }],
  ["messages as an object of lists", {
    messages: { role: ["user", "assistant"], content: ["What?", "A cat."] },
  }],
  ["ShareGPT as an object of lists", {
    conversations: { from: ["human", "gpt"], value: ["What?", "A cat."] },
  }],
];
for (const [what, row] of pairs) {
  Deno.test(`vqa reads ${what}`, () => {
    const vqa = formatReader("vqa");
    vqa.checkColumns(Object.keys(row), "x");
    assertEquals(vqa.read(row, false).examples, [{ turns: [turn], columns: {} }]);
  });
}

Deno.test("vqa reads Alpaca's input, history and system", () => {
  const row: Row = {
    instruction: "Translate.",
    input: "Katze",
    output: "cat",
    system: "Be brief.",
    history: [["Hi", "Hello"]],
  };
  assertEquals(formatReader("vqa").read(row, false).examples[0].turns, [
    { system: "Be brief.", user: "Hi", assistant: "Hello" },
    { user: "Translate.\nKatze", assistant: "cat" },
  ]);
});

Deno.test("a split turn keeps the system messages before it, and turns of weight 0 are left out", () => {
  const row: Row = {
    system: "S",
    messages: [
      { role: "user", content: "a" },
      { role: "assistant", content: "b", weight: 0 },
      { role: "user", content: "c" },
      { role: "assistant", content: "d" },
    ],
  };
  assertEquals(formatReader("vqa").read(row, true).examples.map(({ turns }) => turns), [
    [{ system: "S", user: "c", assistant: "d" }],
  ]);
});

const unlike: [string, Row, string][] = [
  ["a prompt that the conversations do not begin with", {
    prompt: "Other?",
    chosen: [...question, { role: "assistant", content: "a" }],
    rejected: [...question, { role: "assistant", content: "b" }],
  }, "not how chosen and rejected begin"],
  [
    "chosen that is an object of something else",
    { prompt: "?", chosen: { a: 1 }, rejected: "b" },
    "chosen holds an object with a",
  ],
  ["chosen that is NaN", { prompt: "?", chosen: NaN, rejected: "b" }, "no chosen answer"],
];
for (const [what, row, reason] of unlike) {
  Deno.test(`preference skips ${what}`, () => {
    assertThrows(() => formatReader("preference").read(row, false), RowSkipped, reason);
  });
}
