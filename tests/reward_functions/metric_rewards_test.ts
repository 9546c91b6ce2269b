import { assertEquals } from "@std/assert";
import { METRIC_NAMES, scoreAnswer } from "../../src/evaluate/metrics/score_answer.ts";
import { BUILTIN_REWARDS, RewardSandbox } from "../../src/rewards/mod.ts";

Deno.test("every metric is a built-in reward, and scores in the sandbox as in eval", async () => {
  assertEquals(METRIC_NAMES.filter((name) => !BUILTIN_REWARDS.includes(name)), []);
  const completions = ["10.2", "<answer>B</answer>", "yes", "[0, 0, 10, 9]", "the red cat"];
  const answers = [["10"], ["B"], ["yes", "Yes"], ["[0, 0, 10, 10]"], [{ answer: "red cat" }]];
  for (const name of METRIC_NAMES) {
    await using sandbox = await RewardSandbox.start([{ module: `builtin:${name}` }]);
    const { functions } = await sandbox.score({
      prompts: completions.map(() => ""),
      completions,
      completion_ids: completions.map(() => []),
      columns: { answers },
    });
    const given = ["10.2", "B", "yes", "[0, 0, 10, 9]", "the red cat"];
    const accepted = [["10"], ["B"], ["yes", "Yes"], ["[0, 0, 10, 10]"], ["red cat"]];
    assertEquals(
      functions.map(({ scores }) => scores),
      [given.map((text, i) => scoreAnswer(name, text, accepted[i]))],
      name,
    );
  }
});

Deno.test("options of a metric's reward follow its name; a row without an answer gets null", async () => {
  await using sandbox = await RewardSandbox.start([
    { module: "builtin:choice?choices=A,B,C,D,E" },
    { module: "builtin:contains?style=no_spaces" },
  ]);
  const { functions } = await sandbox.score({
    prompts: ["", ""],
    completions: ["E.", "E."],
    completion_ids: [[], []],
    columns: { answer: ["E", null] },
  });
  assertEquals(functions.map(({ scores }) => scores), [[1, null], [1, null]]);
});
