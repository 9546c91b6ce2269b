/**
 * Sentences that people and models really write, with the score that each deserves: at least forty
 * for each built-in reward that reads text. Columns: the row's answer, the completion, the score.
 */
import { assert, assertAlmostEquals } from "@std/assert";
import { accuracy } from "../../reward_functions/accuracy.ts";
import { boxIou } from "../../reward_functions/box_iou.ts";
import { choiceLetter } from "../../reward_functions/choice_letter.ts";
import { exactMatch } from "../../reward_functions/exact_match.ts";
import { numericCloseness } from "../../reward_functions/numeric_closeness.ts";
import type { RewardContext } from "../../src/rewards/mod.ts";

type Row = readonly [answer: unknown, completion: string, score: number | null];
type Reward = (context: RewardContext) => (number | null)[];

function checkTable(reward: Reward, rows: readonly Row[], before = "", after = "") {
  assert(rows.length >= 40, `only ${rows.length} sentences`);
  const scores = reward({
    prompts: rows.map(() => ""),
    completions: rows.map(([, completion]) => before + completion + after),
    completion_ids: [],
    answer: rows.map(([answer]) => answer),
    trainer_state: {},
  });
  const wrong = rows.filter(([, , want], i) => {
    const got = scores[i];
    return want === null || got === null ? want !== got : Math.abs(got - want) > 1e-6;
  });
  const list = wrong.map((row) => `${JSON.stringify(row)} got ${scores[rows.indexOf(row)]}`);
  assert(wrong.length === 0, list.join("\n"));
}

const CHOICES: Row[] = [
  ["B", "B", 1],
  ["B", "b", 1],
  ["B", "(B)", 1],
  ["B", "**B**", 1],
  ["B", "B.", 1],
  ["B", "The answer is B because the light is red.", 1],
  ["B", "B is correct.", 1],
  ["D", "Option D seems right", 1],
  ["A", "The answer is A because it is red.", 1],
  ["D", "The correct option is C since it is blue, not D", 0],
  ["C", "The correct option is C since it is blue, not D", 1],
  ["B", "e.g. the answer is B", 1],
  ["B", "(B) blue", 1],
  ["C", "A cat is shown, so C", 1],
  ["A", "A cat is shown, so C", 0],
  ["B", "Answer: B", 1],
  ["B", "**Answer:** B", 1],
  ["B", "Final answer: **B**.", 1],
  ["B", "the answer is b", 1],
  ["C", "I would choose C.", 1],
  ["I", "I would choose C.", 0],
  ["C", "I think the correct answer is option (C).", 1],
  ["C", String.raw`Therefore \boxed{C}`, 1],
  ["C", String.raw`The answer is $\boxed{\text{C}}$.`, 1],
  ["B", "Option A is wrong; option B is right.", 1],
  ["A", "Option A is wrong; option B is right.", 0],
  ["B", "A and C are incorrect, so it must be B.", 1],
  ["B", "It can't be A, and D is clearly wrong. B.", 1],
  ["D", "D. None of the above", 1],
  ["B", "A) red B) blue C) green. The answer is B.", 1],
  ["C", "The answer is B. Options A, C and D are wrong.", 0],
  ["B", "The answer is B. Options A, C and D are wrong.", 1],
  ["A", "It is either A or B.", 0],
  ["B", "It is either A or B.", 0],
  ["B", "Between A and B, I pick B", 1],
  ["B", "B rather than C", 1],
  ["C", "Not A, but C.", 1],
  ["B", "The T-shirt is blue, so the answer is B", 1],
  ["B", "Dr. J. Smith wears blue: B", 1],
  ["C", "Looking at the X-axis, C", 1],
  ["A", "a", 1],
  ["A", "The answer is a cat", 0],
  ["B", "none of them", 0],
  ["B", "I don't know.", 0],
  ["Answer: B", "B) 12 cm", 1],
  ["(d)", "I'd go with D, although B is close.", 1],
  ["42", "B", null],
  ["E", "the best choice would be E", 1],
  ["B", "B: the red one", 1],
  ["A", "A seems right", 1],
];

Deno.test("choiceLetter() reads choices as people write them", () => {
  checkTable(choiceLetter, CHOICES);
  checkTable(choiceLetter, CHOICES, "<think>Is it A or F? No, G.</think><answer>", "</answer>");
});

Deno.test("numericCloseness() reads numbers as people write them", () => {
  checkTable(numericCloseness, [
    ["45", "between 40-45", 1],
    ["12", "on 2024-05-12", 1],
    ["3", "page-3", 1],
    ["1/2", "2", 0],
    ["1/2", "0.5", 1],
    ["0.5", "1/2", 1],
    ["9500", String.raw`\boxed{9{,}500}`, 1],
    ["100000", "1,00,000", 1],
    ["200", "the point (10,200)", 1],
    ["8000", "8,000", 1],
    ["-2", "3 - 5 = -2", 1],
    ["-0.5", "-0.5", 1],
    ["12", "12 cm", 1],
    ["12", "about 12cm long", 1],
    ["12", "12 m²", 1],
    ["12", "12 m^2", 1],
    ["3.5", "$3.50", 1],
    ["1250.5", "$1,250.50", 1],
    ["-3", "-$3", 1],
    ["25%", "25 percent", 1],
    ["25%", "0.25", 1],
    ["0.25", "25%", 1],
    ["25%", "25", 1],
    ["25", "25%", 1],
    ["25%", String.raw`25\%`, 1],
    ["2.5", "2 1/2", 1],
    ["2.5", "2½ cups", 1],
    ["0.75", "three quarters, i.e. ¾", 1],
    ["0.5", String.raw`\frac{1}{2}`, 1],
    ["1500", "1.5e3", 1],
    ["1500", "1.5 × 10^3", 1],
    ["1500", "1.5 × 10³", 1],
    ["0.0015", String.raw`1.5 \times 10^{-3}`, 1],
    ["1500000", "1.5 million people", 1],
    ["20000", "20k", 1],
    ["10000", "10 000", 1],
    ["10000", "10'000", 1],
    ["3.5", "3,5", 1],
    ["8", "It is 8, not 7.", 1],
    ["7", "It is 8, not 7.", 0],
    ["3.2", "3.2 ± 0.1", 1],
    ["-5", "minus 5 degrees", 1],
    ["-5", "−5 °C", 1],
    ["45", "40–45 km", 1],
    ["12", "12 (twelve)", 1],
    ["72", "#### 72", 1],
    ["5", "The total is 2 + 3 = 5.", 1],
    ["2", "H2O", 1],
    ["3", "3 molecules of H2O", 1],
    ["3", "there are none", 0],
    ["red", "3", null],
    ["2024-05-12", "2023-05-12", null],
    ["100", "about 105.0", 0.5],
    ["12:45", "8:45", 0],
    ["12:45", "12:45 pm", 1],
    ["4", "the 4th", 1],
    ["60", "60 km/h", 1],
    ["1234567", "1.234.567", 1],
    ["10.5", "roughly 10.5.", 1],
    ["2", "2.", 1],
  ]);
});

const tagged = "<think>so</think><answer>";
Deno.test("accuracy() knows an answer from a choice's letter", () => {
  checkTable(
    accuracy,
    [
      ["37 C", "37 C", 1],
      ["37 C", "5 C", 0],
      ["Vitamin C", "Vitamin C", 1],
      ["Vitamin C", "C", 0],
      ["Plan B", "Plan B", 1],
      ["Hepatitis B", "hepatitis b", 1],
      ["grade a", "Grade A", 1],
      ["B. blue", "B", 1],
      ["B. blue", "B. blue", 1],
      ["B. blue", "B. Blue", 1],
      ["The correct choice: option (c)", "c", 1],
      ["a cat", "a cat", 1],
      ["a cat", "a", 0],
      ["(c)", "C", 1],
      ["C)", "C", 1],
      ["C", "(C)", 0.5],
      ["Answer: D", "d", 1],
      ["Answer: D", "c", 0],
      ["The answer is C", "C", 1],
      ["the answer is a cat", "A", 0],
      ["the answer is a cat", "the answer is a cat", 1],
      ["Answer:B because of d", "B", 1],
      ["12 cm", "12 cm", 1],
      ["12 cm", "c", 0],
      ["12", "12", 1],
      [12, "12", 1],
      ["12", "12 cm", 0.5],
      ["cabbage", "Cabbage", 1],
      ["cabbage", "a", 0],
      ["Blood type B", "B", 0],
      ["Blood type B", "blood type B", 1],
      ["Building A", "building A", 1],
      ["Highway D", "D", 0],
      ["5 D", "5 d", 1],
      ["yes", "Yes", 1],
      ["no", "I know", 0.5],
      ["café", "cafe\u0301", 1],
      ["Paris", " Paris\n", 1],
      ["Paris", "Rome", 0],
      ["", "", 0],
      [null, "x", 0],
      ["A and B", "a and b", 1],
      ["Option B", "B", 1],
      ["choice d.", "D", 1],
      ["**B**", "b", 1],
      ["because", "b", 0],
    ],
    tagged,
    "</answer>",
  );
});

Deno.test("exactMatch() compares letter for letter", () => {
  checkTable(exactMatch, [
    ["Paris", "Paris", 1],
    ["Paris", "paris", 1],
    ["Paris", "PARIS", 1],
    ["Paris", "  Paris\n", 1],
    ["Paris", "\tParis\u00a0", 1],
    ["Paris", "Paris.", 0],
    ["Paris", "Paris, France", 0],
    ["Paris", "It is Paris", 0],
    ["Paris", "Rome", 0],
    ["Paris", "", 0],
    ["", "", 1],
    ["café", "cafe\u0301", 1],
    ["cafe\u0301", "CAFÉ", 1],
    ["café", "cafe", 0],
    ["Ångström", "A\u030angstro\u0308m", 1],
    ["Straße", "STRASSE", 1],
    ["ΟΔΟΣ", "οδος", 1],
    ["İstanbul", "i\u0307stanbul", 1],
    ["한국", "\u1112\u1161\u11ab\u1100\u116e\u11a8", 1],
    ["東京", "東京", 1],
    ["東京", "京東", 0],
    ["12", "12", 1],
    [12, "12", 1],
    [12, "12.0", 0],
    [0, "0", 1],
    [1.5, "1.5", 1],
    [true, "True", 1],
    [false, "no", 0],
    [["4", "four"], "Four", 1],
    [["4", "four"], "4", 1],
    [["4", "four"], "5", 0],
    [[], "x", 0],
    [null, "x", null],
    ["two words", "two words", 1],
    ["two words", "two  words", 0],
    ["a\nb", "a\nb", 1],
    ["yes", "Yes", 1],
    ["yes", "yeah", 0],
    ["½", "1/2", 0],
    ["50%", "50%", 1],
    ["50%", "50 %", 0],
    ["don't", "Don't", 1],
    ["don't", "don’t", 0],
  ]);
  checkTable(
    exactMatch,
    Array.from({ length: 40 }, (_, i): Row => [`word ${i}`, `Word ${i} `, 1]),
    "<think>other</think><answer>",
    "</answer>",
  );
});

Deno.test("boxIou() reads boxes as models write them", () => {
  const box = [10, 20, 110, 220];
  checkTable(boxIou, [
    [box, "[10, 20, 110, 220]", 1],
    [box, "[10,20,110,220]", 1],
    [box, "[10.0, 20.0, 110.0, 220.0]", 1],
    [box, "(10, 20, 110, 220)", 1],
    [box, "(10,20),(110,220)", 1],
    [box, "<box>(10,20),(110,220)</box>", 1],
    [box, "(10, 20) (110, 220)", 1],
    [box, "[[10, 20], [110, 220]]", 1],
    [box, '{"bbox_2d": [10, 20, 110, 220], "label": "cat"}', 1],
    [box, '```json\n[{"bbox": [10, 20, 110, 220]}]\n```', 1],
    [box, "The cat is at [10, 20, 110, 220].", 1],
    [box, "bbox = [ 10 , 20 , 110 , 220 ]", 1],
    [box, "[110, 220, 10, 20]", 1],
    [box, "[1e1, 2e1, 1.1e2, 2.2E+2]", 1],
    [box, "[+10, +20, +110, +220]", 1],
    [box, "[10., 20., 110., 220.]", 1],
    [box, "[10, 20, 110, 120]", 0.5],
    [box, "[60, 20, 110, 220]", 0.5],
    [box, "[200, 300, 210, 310]", 0],
    [box, "no box", 0],
    [box, "[]", 0],
    [box, "[10, 20, 110]", 0],
    [box, "10, 20, 110, 220", 0],
    [box, "[10, 20, 110, 220] [300, 300, 310, 310]", 0.5],
    [box, "[10, 20, 110, 220], [10, 20, 110, 220]", 0.5],
    [box, "[a, b, c, d]", 0],
    [box, "[NaN, 20, 110, 220]", 0],
    [[0, 0, 0.5, 0.5], "[0.0, 0.0, 0.5, 0.5]", 1],
    [[0, 0, 0.5, 0.5], "[.0, .0, .5, .5]", 1],
    [[0.001, 0, 0.5, 0.5], "[1e-3, 0, 0.5, 0.5]", 1],
    [[[0, 0, 0.5, 0.5], [0.6, 0.6, 0.9, 0.9]], "[0, 0, 0.5, 0.5]", 0.5],
    [[[0, 0, 0.5, 0.5], [0.6, 0.6, 0.9, 0.9]], "[0.6, 0.6, 0.9, 0.9] [0, 0, 0.5, 0.5]", 1],
    ["[10, 20, 110, 220]", "[10, 20, 110, 220]", 1],
    ["(10,20),(110,220)", "[10, 20, 110, 220]", 1],
    [[[-5, -5, 5, 5]], "[-5, -5, 5, 5]", 1],
    [[[-5, -5, 5, 5]], "[−5, −5, 5, 5]", 1],
    [[[-5, -5, 5, 5]], "[5, 5, 15, 15]", 0],
    [null, "[0, 0, 1, 1]", null],
    [[], "[0, 0, 1, 1]", null],
    ["none", "[0, 0, 1, 1]", null],
    [[0, 0, 1000, 1000], "[0, 0, 1000, 500]", 0.5],
    [[0, 0, 2, 2], "[1, 1, 3, 3]", 1 / 7],
  ]);
});

Deno.test("boxIou() accepts tiny numbers in the row's boxes, which print with an exponent", () => {
  const scores = boxIou({
    prompts: ["", ""],
    completions: ["[0.0, 0.0, 0.5, 0.5]", "[0.0, 0.0, 0.5, 0.5]"],
    completion_ids: [],
    boxes: [[[2e-7, 0, 0.5, 0.5]], [[-1e-7, 0, 0.5, 0.5], [0.6, 0.6, 0.9, 0.9]]],
    trainer_state: {},
  });
  assertAlmostEquals(scores[0]!, 1, 1e-5);
  assertAlmostEquals(scores[1]!, 0.5, 1e-5);
});

const shared = new URL("../../../shared/cases/", import.meta.url);
function readLines(path: string): Record<string, unknown>[] | null {
  try {
    return Deno.readTextFileSync(new URL(path, shared)).trim().split("\n").map((line) =>
      JSON.parse(line)
    );
  } catch {
    return null;
  }
}

const CASES: readonly [string, Reward, readonly number[] | null][] = [
  ["reward_choice_letter", choiceLetter, [1, 1, 1, 1, 0, 1, 1, 1, 1]],
  ["reward_numeric_closeness", numericCloseness, null],
  ["reward_accuracy_letter", accuracy, null],
  ["reward_box_iou", boxIou, null],
];

for (const [folder, reward, scores] of CASES) {
  const rows = readLines(`${folder}/rows.jsonl`);
  Deno.test({
    name: `${folder} has its scores${rows === null ? " (skipped: shared/cases is missing)" : ""}`,
    ignore: rows === null,
    fn() {
      const want = scores ??
        JSON.parse(Deno.readTextFileSync(new URL(`${folder}/want.json`, shared)));
      const columns = Object.keys(rows![0]).filter((key) => key !== "completion");
      const got = reward({
        prompts: rows!.map(() => ""),
        completions: rows!.map((row) => String(row.completion)),
        completion_ids: [],
        trainer_state: {},
        ...Object.fromEntries(columns.map((name) => [name, rows!.map((row) => row[name])])),
      });
      got.forEach((score, i) =>
        assertAlmostEquals(score!, want[i], 1e-5, JSON.stringify(rows![i]))
      );
    },
  });
}
