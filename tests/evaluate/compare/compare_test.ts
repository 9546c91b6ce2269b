import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { ResultsError } from "../../../src/evaluate/benchmarks/results_file.ts";
import { checkComparable, readMeasurement } from "../../../src/evaluate/compare/measurement.ts";
import { mcNemarTest, pairedDifference } from "../../../src/evaluate/compare/paired_difference.ts";

const measured = (scores: readonly number[], form: "mean" | "mme" = "mean") => ({
  form,
  scores: scores.map((score, i) => ({
    score,
    group: "OCR",
    subgroup: String(i >> 1),
    answer: "",
    answers: [],
  })),
});

Deno.test("mcNemarTest() gives the exact binomial p-values", () => {
  // scipy.stats.binomtest(k, n, 0.5).pvalue
  assertAlmostEquals(mcNemarTest(9, 1), 0.021484375, 1e-12);
  assertAlmostEquals(mcNemarTest(1, 9), 0.021484375, 1e-12);
  assertAlmostEquals(mcNemarTest(60, 40), 0.05688793364098089, 1e-12);
  assertAlmostEquals(mcNemarTest(520, 480), 0.2174482932041415, 1e-12);
  assertEquals(mcNemarTest(0, 0), 1);
  assertEquals(mcNemarTest(3, 3), 1);
});

Deno.test("pairedDifference() pairs the questions: equal changes leave a narrow interval", () => {
  const before = Array.from({ length: 200 }, (_, i) => i % 2);
  const after = before.map((score, i) => i < 20 ? 1 : score);
  const found = pairedDifference(measured(before), measured(after));
  assertAlmostEquals(found.difference, 0.05, 1e-12);
  assertEquals([found.gained, found.lost], [10, 0]);
  assert(found.low > 0 && found.high < 0.1, `${found.low} … ${found.high}`);
  assertAlmostEquals(found.pValue!, 2 / 2 ** 10, 1e-12);
  assertEquals(
    pairedDifference(measured(before), measured(before.map((s) => s * 0.5))).pValue,
    null,
  );
  const points = pairedDifference(measured([1, 0, 1, 1], "mme"), measured([1, 1, 1, 1], "mme"));
  assertEquals(points.difference, 75, "one of two pairs gains 50 points and the bonus of 100");
});

Deno.test("files that measured different things are not compared", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const write = (name: string, lines: readonly unknown[]) => {
      const path = `${folder}/${name}`;
      Deno.writeTextFileSync(path, lines.map((line) => JSON.stringify(line) + "\n").join(""));
      return path;
    };
    const line = (question: string, correct: boolean, scores?: Record<string, number>) => (
      { question, expected: "a", answer: correct ? "a" : "b", correct, ...(scores && { scores }) }
    );
    const read = (name: string, lines: readonly unknown[]) => readMeasurement(write(name, lines));
    const one = read("one", [line("q1", true), line("q2", false)]);
    const two = read("two", [line("q1", false), line("q2", false)]);
    checkComparable(one, two);
    assertEquals(one.metrics.get("exact_match")!.scores.map(({ score }) => score), [1, 0]);
    const refused = (name: string, lines: readonly unknown[], reason: string) =>
      assertThrows(() => checkComparable(one, read(name, lines)), ResultsError, reason);
    refused("fewer", [line("q1", true)], "2 and 1 questions");
    refused("other", [line("q1", true), line("q3", false)], "question 2 is another one");
    refused("scored", [line("q1", true, { anls: 1 }), line("q2", true, { anls: 0 })], "metrics");
    assertThrows(() => read("empty", []), ResultsError, "empty");
    assertThrows(() => read("list", [[1]]), ResultsError, "line 1");
    assertThrows(() => read("else", [{ question: "q" }]), ResultsError, "has no exact_match");
    const rewards = [{ question: "q", answer: "a", reward: 2.5, rewards: { format: null } }];
    const { metrics } = read("rewards", rewards);
    assertEquals([...metrics.keys()], ["reward", "rewards/format"]);
    const header = { benchmark: "docvqa", weights: "x", questions: 2 };
    assertThrows(
      () =>
        read("part", [header, { index: 0, question: "q", answers: ["a"], answer: "a", score: 1 }]),
      ResultsError,
      "1 of its 2 questions were not asked yet",
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
