import { assertEquals, assertThrows } from "@std/assert";
import { DataError, RowSkipped } from "../../../src/data/data_error.ts";
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
