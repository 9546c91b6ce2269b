import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { boxIou } from "../../../src/evaluate/metrics/box_iou.ts";
import { chosenLetter } from "../../../src/evaluate/metrics/choice.ts";
import { exactMean } from "../../../src/evaluate/metrics/exact_mean.ts";
import {
  METRIC_NAMES,
  type MetricName,
  scoreAnswer,
} from "../../../src/evaluate/metrics/score_answer.ts";
import { yesNoScores } from "../../../src/evaluate/metrics/yes_no.ts";

interface RecordedCase {
  readonly metric: MetricName;
  readonly prediction: string;
  readonly answers: readonly string[];
  readonly value: number;
  readonly style?: string;
  readonly choices?: readonly string[];
  readonly letter?: string;
}

const shared = new URL("../../../../shared/metrics/cases.json", import.meta.url);
const recorded = new URL("lmms_eval_cases.jsonl", import.meta.url);

function checkCases({ cases }: { readonly cases: readonly RecordedCase[] }) {
  const wrong = cases.filter(({ metric, prediction, answers, value, style, choices, letter }) =>
    scoreAnswer(metric, prediction, answers, { style, choices }) !== value ||
    (letter !== undefined && chosenLetter(prediction, choices) !== letter)
  ).map((one) => ({ ...one, got: scoreAnswer(one.metric, one.prediction, one.answers, one) }));
  assertEquals(wrong, []);
}

Deno.test("scoreAnswer() gives lmms-eval's values to the last digit", async () => {
  const lines = (await Deno.readTextFile(recorded)).trimEnd().split("\n");
  const cases: RecordedCase[] = lines.map((line) => JSON.parse(line));
  assert(cases.length > 500);
  assertEquals(
    new Set(cases.map(({ metric }) => metric)),
    new Set(METRIC_NAMES.filter((name) => name !== "exact_match")),
  );
  checkCases({ cases });
});

Deno.test({
  name: "scoreAnswer() gives the values of the shared cases (skipped without ../shared)",
  ignore: await Deno.stat(shared).then(() => false, () => true),
  fn: async () => checkCases(JSON.parse(await Deno.readTextFile(shared))),
});

Deno.test("scoreAnswer() says which metric, style or answers are wrong", () => {
  assertThrows(
    () => scoreAnswer("bleu" as MetricName, "a", ["a"]),
    RangeError,
    "want one of exact_match",
  );
  assertThrows(() => scoreAnswer("anls", "a", []), RangeError, "no answer");
  assertThrows(() => scoreAnswer("anls", "a", ["a"], { style: "vqav2" }), RangeError, "want none");
  assertThrows(
    () => scoreAnswer("vqa_accuracy", "a", ["a"], { style: "gqa" }),
    RangeError,
    "vqav2, textvqa",
  );
});

Deno.test("exactMean() rounds once", () => {
  // The sum of ten times 0.1 in float64 is 0.9999999999999999.
  assertEquals(exactMean(new Array(10).fill(0.1)), 0.1);
  assertEquals(exactMean([1, 2 / 3, 2 / 3, 2 / 3]), 0.75);
  assertEquals(exactMean([0, 0]), 0);
});

Deno.test("boxIou() is 0 for boxes without area", () => {
  assertEquals(boxIou([0, 0, 0, 0], [0, 0, 0, 0]), 0);
  assertAlmostEquals(boxIou([0, 0, 2, 2], [1, 1, 3, 3]), 1 / 7, 1e-15);
});

Deno.test("yesNoScores() counts precision and recall of yes", () => {
  const answered = [
    ["yes", "yes"],
    ["Yes ", "no"],
    ["no", "yes"],
    ["no", "no"],
    ["maybe", "yes"],
  ].map(([prediction, answer]) => ({ prediction, answer }));
  assertEquals(yesNoScores(answered), {
    accuracy: 2 / 5,
    precision: 1 / 2,
    recall: 1 / 2,
    f1: 1 / 2,
    yes_ratio: 3 / 5,
  });
  assertEquals(yesNoScores([]), { accuracy: 0, precision: 0, recall: 0, f1: 0, yes_ratio: 0 });
});
