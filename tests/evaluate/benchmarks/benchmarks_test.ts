import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { RowSkipped } from "../../../src/data/data_error.ts";
import type { Row } from "../../../src/data/rows/row.ts";
import { benchmarkOf, BENCHMARKS } from "../../../src/evaluate/benchmarks/benchmark_table.ts";
import { pictureColumnsOf, promptOf } from "../../../src/evaluate/benchmarks/prompt.ts";
import { parsePythonList } from "../../../src/evaluate/benchmarks/python_list.ts";
import { rowAnswers, scoreRow } from "../../../src/evaluate/benchmarks/score_row.ts";
import { benchmarkTotals } from "../../../src/evaluate/benchmarks/totals.ts";

interface Recorded {
  readonly kind: "facts" | "row" | "total";
  readonly benchmark: string;
  readonly [name: string]: unknown;
}

const recorded: Recorded[] = Deno.readTextFileSync(
  new URL("lmms_eval_cases.jsonl", import.meta.url),
).trim().split("\n").map((line) => JSON.parse(line));
const ofKind = (kind: Recorded["kind"]) => recorded.filter((one) => one.kind === kind);

Deno.test("every benchmark has lmms-eval's Hub id, configuration, split and longest answer", () => {
  assertEquals(ofKind("facts").map(({ benchmark }) => benchmark).sort(), [
    ...BENCHMARKS.map(({ name }) => name),
  ]);
  for (const { benchmark, hub_id, config, split, max_new_tokens } of ofKind("facts")) {
    const own = benchmarkOf(benchmark);
    assertEquals([own.hubId, own.config, own.split], [hub_id, config, split], benchmark);
    assertEquals(own.maxNewTokens, max_new_tokens ?? 50, benchmark);
  }
});

Deno.test("docs/evaluation.md lists every benchmark with its Hub id, configuration and split", () => {
  const page = Deno.readTextFileSync(new URL("../../../docs/evaluation.md", import.meta.url));
  const rows = page.split("\n").filter((line) => line.startsWith("| `"))
    .map((line) => line.split("|").slice(1, 4).map((cell) => cell.trim()).join(" "));
  assertEquals(
    rows,
    BENCHMARKS.map(({ name, hubId, config, split }) =>
      `\`${name}\` \`${hubId}\`${config === null ? "" : `, \`${config}\``} ${split}`
    ),
  );
});

Deno.test("promptOf() writes lmms-eval's prompts to the last character", () => {
  for (const { benchmark, row, prompt } of ofKind("row")) {
    assertEquals(promptOf(benchmarkOf(benchmark), row as Row), prompt, benchmark);
  }
});

Deno.test("scoreRow() gives lmms-eval's score of every recorded answer", () => {
  const scores = new Map<string, Set<unknown>>();
  for (const { benchmark, row, prediction, score, drawn } of ofKind("row")) {
    if (drawn) continue; // the reference has drawn a letter at random
    const own = scoreRow(benchmarkOf(benchmark), row as Row, String(prediction));
    assertEquals(own, score, `${benchmark}: ${JSON.stringify({ row, prediction })}`);
    scores.set(benchmark, (scores.get(benchmark) ?? new Set()).add(score));
  }
  for (const [benchmark, seen] of scores) assert(seen.has(0) && seen.size > 1, benchmark);
});

Deno.test("benchmarkTotals() gives lmms-eval's numbers of MMStar, POPE, OCRBench and MME", () => {
  for (const { benchmark, total, further, pairs } of ofKind("total")) {
    const own = benchmarkOf(benchmark);
    const { group, subgroup } = own.columns;
    const text = (row: Row, column: string | undefined) =>
      column === undefined ? null : String(row[column]);
    const questions = pairs === undefined
      ? ofKind("row").filter((one) => one.benchmark === benchmark).map(({ row, prediction }) => ({
        score: scoreRow(own, row as Row, String(prediction)),
        group: text(row as Row, group),
        subgroup: text(row as Row, subgroup),
        answer: String(prediction),
        answers: rowAnswers(own, row as Row),
      }))
      : (pairs as { question_id: string; category: string; score: number }[]).map((pair) => ({
        score: pair.score,
        group: pair.category,
        subgroup: pair.question_id,
        answer: "",
        answers: [],
      }));
    const totals = benchmarkTotals(own.total, questions);
    assertAlmostEquals(totals.overall.value, total as number, 1e-12, benchmark);
    const { low, high, value } = totals.overall;
    assert(low < value && value < high, benchmark);
    if (further !== undefined) {
      const names = ["accuracy", "precision", "recall", "f1", "yes_ratio"];
      assertEquals(names.map((name) => totals.further[name]), further, benchmark);
    }
  }
});

Deno.test("MME's halves sum the points of their categories, and a question without its partner is left out", () => {
  const question = (group: string, subgroup: string, score: number) => (
    { score, group, subgroup, answer: "", answers: [] }
  );
  const { overall, byGroup } = benchmarkTotals("mme", [
    question("OCR", "1", 1),
    question("OCR", "1", 1),
    question("count", "1", 1),
    question("count", "1", 0),
    question("code_reasoning", "1", 1),
    question("code_reasoning", "1", 1),
    question("code_reasoning", "2", 1),
  ]);
  assertEquals(overall.value, 450);
  assertEquals(overall.questions, 6);
  assertEquals(byGroup.get("mme_perception_score")!.value, 250);
  assertEquals(byGroup.get("mme_cognition_score")!.value, 200);
  assertEquals(byGroup.get("OCR")!.value, 200);
});

Deno.test("MMMU shows the pictures that its question and options name, and reads Python lists", () => {
  const row = {
    id: "validation_Art_1",
    question: "Compare <image 2> with <image 1>.",
    options: `['<image 3>', "can't", 'a\\n\\u00e9', '\\'x\\'']`,
    answer: "B",
    question_type: "multiple-choice",
  };
  assertEquals(pictureColumnsOf(benchmarkOf("mmmu"), row), ["image_1", "image_2", "image_3"]);
  assertEquals(parsePythonList(row.options), ["<image 3>", "can't", "a\né", "'x'"]);
  assertEquals(parsePythonList("[1, 2.5, 'a']"), ["1", "2.5", "a"]);
  assertEquals(parsePythonList("[]"), []);
  for (const bad of ["A, B", "['a'", "['a' 'b']", "[['a']]"]) {
    assertEquals(parsePythonList(bad), null);
  }
  assertThrows(
    () => promptOf(benchmarkOf("mmmu"), { ...row, options: "A, B" }),
    RowSkipped,
    "options",
  );
});

Deno.test("a row without an accepted answer is not scored", () => {
  const row = { question: "What?", answers: null };
  assertThrows(() => scoreRow(benchmarkOf("docvqa"), row, "x"), RowSkipped, "answers");
  assertThrows(() => benchmarkOf("mmbench"), RangeError, "mmstar");
});
