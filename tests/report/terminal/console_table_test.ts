import { assert, assertEquals } from "@std/assert";
import { formatNumber, formatTable } from "../../../src/report/terminal/console_table.ts";
import { formatCompletions } from "../../../src/report/terminal/completions_table.ts";
import { formatSamples } from "../../../src/report/terminal/samples_table.ts";
import { displayWidth } from "../../../src/report/terminal/terminal_text.ts";

Deno.test("formatTable() aligns numbers at the right and shows null as a dash", () => {
  const table = formatTable([{ header: "name" }, { header: "value", align: "right" }], [
    ["a", 1],
    ["longer", null],
  ]);
  assertEquals(table, "name    value\n──────  ─────\na           1\nlonger      –\n");
});

Deno.test("formatTable() stays within the width, whatever the cells hold", () => {
  const nasty = "日本語 \x1b[2J👨‍👩‍👧 words\nand more words ".repeat(20);
  for (const width of [30, 47, 80, 120]) {
    const table = formatTable(
      [{ header: "a", lines: 3 }, { header: "b" }, { header: "n", align: "right" }],
      [[nasty, nasty, 1.5], ["x", "y", 22]],
      width,
    );
    assert(!table.includes("\x1b"));
    const lines = table.trimEnd().split("\n");
    assertEquals(lines.length, 2 + 3 + 1);
    for (const line of lines) assert(displayWidth(line) <= width, `${width}: ${line}`);
  }
});

Deno.test("formatNumber() writes numbers as a person reads them", () => {
  const written = [0, 1, 1234567, 0.36, 12.3456, 0.02, 5e-5, -1e-7, 2e12, NaN].map(formatNumber);
  assertEquals(written, [
    "0",
    "1",
    "1,234,567",
    "0.3600",
    "12.35",
    "0.0200",
    "5.00e-5",
    "-1.00e-7",
    "2.00e+12",
    "NaN",
  ]);
});

Deno.test("formatCompletions() shows every reward function that any row has", () => {
  const table = formatCompletions([
    { step: 1, prompt: "p", completion: "c", rewards: { a: 1 }, reward: 1, advantage: 0.7071 },
    { step: 1, prompt: "q", completion: "d", rewards: { b: null }, reward: null, advantage: null },
    { step: 1, prompt: "not", completion: "shown", rewards: {}, reward: 0, advantage: 0 },
  ], 2);
  const lines = table.trimEnd().split("\n");
  assertEquals(lines[0].split(/\s+/), ["prompt", "completion", "a", "b", "advantage"]);
  assertEquals(lines[2].split(/\s+/), ["p", "c", "1", "–", "0.71"]);
  assertEquals(lines[3].split(/\s+/), ["q", "d", "–", "–", "–"]);
  assertEquals(lines.length, 4);
});

Deno.test("formatSamples() says right and wrong in words", () => {
  const table = formatSamples([
    { question: "q?", expected: "yes", answer: "yes", correct: true },
    { question: "r?", expected: "no", answer: "yes", correct: false },
    { question: "s?", expected: null, answer: "maybe", correct: null },
  ]);
  const rows = table.trimEnd().split("\n").slice(2).map((line) => line.split(/\s+/));
  assertEquals(rows, [["q?", "yes", "yes", "right"], ["r?", "no", "yes", "wrong"], [
    "s?",
    "–",
    "maybe",
  ]]);
});
