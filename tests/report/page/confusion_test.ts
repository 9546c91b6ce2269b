import { assertEquals } from "@std/assert";
import { confusions, frequentMistakes } from "../../../src/report/page/confusion.ts";

const times = (count: number, expected: string, answer: string, type: string | null = null) =>
  Array.from({ length: count }, () => ({ expected, answer, type }));

Deno.test("confusions() counts what is answered for what, case folded, by type", () => {
  const tables = confusions([
    ...times(3, "Red", "red ", "colour"),
    ...times(2, "blue", "red", "colour"),
    ...times(1, "blue", "<think>\n</think><answer>BLUE\n</answer>", "colour"),
    ...times(2, "10", "10", "count"),
    ...times(2, "9", "a dog", "count"),
  ]);
  assertEquals(tables, [
    { type: "colour", expected: ["blue", "red"], given: ["blue", "red"], counts: [[1, 2], [0, 3]] },
    {
      type: "count",
      expected: ["9", "10"],
      given: ["9", "10", "other"],
      counts: [[0, 0, 2], [0, 2, 0]],
    },
  ]);
  assertEquals(frequentMistakes(tables[0]), ["“red” for “blue” 2 times"]);
});

Deno.test("confusions() makes no table of answers that do not come back, or of one answer", () => {
  const sentences = Array.from({ length: 40 }, (_, i) => times(1, `the number ${i}`, "none"))
    .flat();
  assertEquals(confusions(sentences), []);
  assertEquals(confusions(times(9, "yes", "no")), []);
});

Deno.test("confusions() leaves out rare answers if the frequent ones cover most questions", () => {
  const frequent = Array.from({ length: 10 }, (_, i) => times(9, `a${i}`, `a${i}`)).flat();
  const [table] = confusions([...frequent, ...times(1, "rare", "a0"), ...times(1, "odd", "a0")]);
  assertEquals([table.expected.length, table.given.includes("other")], [10, false]);
});
