import { assertEquals } from "@std/assert";
import { chooseAnswers, wrongFirst } from "../../src/report/choose_answers.ts";

Deno.test("wrongFirst() orders wrong, unjudged, right, and the lowest margin or reward first", () => {
  const pair = (margin: number) => ({ chosen: "a", rejected: "b", margin, referenceMargin: null });
  const ordered = wrongFirst([
    { name: "right", correct: true },
    { name: "unjudged, worth 1", correct: null, reward: 1 },
    { name: "wrong", correct: false, pair: pair(-1) },
    { name: "worse", correct: false, pair: pair(-2) },
    { name: "unjudged, worth 0", correct: null, reward: 0 },
  ]);
  assertEquals(
    ordered.map(({ name }) => name),
    ["worse", "wrong", "unjudged, worth 0", "unjudged, worth 1", "right"],
  );
});

Deno.test("chooseAnswers() takes wrong answers of every type, and some right ones", () => {
  const answers = Array.from({ length: 500 }, (_, i) => ({
    correct: i % 5 === 0,
    type: i < 450 ? "colour" : "shape",
  }));
  const chosen = chooseAnswers(answers);
  const count = (correct: boolean, type: string) =>
    chosen.filter((one) => one.correct === correct && one.type === type).length;
  assertEquals(chosen.length, 48);
  assertEquals([count(false, "colour"), count(false, "shape")], [16, 16]);
  assertEquals([count(true, "colour"), count(true, "shape")], [8, 8]);
  assertEquals(chosen.findIndex(({ correct }) => correct), 32, "wrong ones come first");
});

Deno.test("chooseAnswers() fills the page with right answers if few are wrong", () => {
  const answers = Array.from({ length: 100 }, (_, i) => ({ correct: i > 2 }));
  const chosen = chooseAnswers(answers);
  assertEquals([chosen.length, chosen.filter(({ correct }) => !correct).length], [48, 3]);
  assertEquals(chooseAnswers(answers.slice(0, 5)).length, 5);
});
