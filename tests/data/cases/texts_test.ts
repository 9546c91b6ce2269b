import { assertEquals } from "@std/assert";
import { loadDataset } from "../../../src/data/load_dataset.ts";
import { CASES, caseTest } from "./shared_cases.ts";

const vqa = async (path: string) =>
  await Array.fromAsync(
    await loadDataset({ path: CASES + path, format: "vqa" }),
    ({ turns }) => turns,
  );
const preference = async (path: string) =>
  await Array.fromAsync(
    await loadDataset({ path: CASES + path, format: "preference" }),
    ({ prompt, chosen, rejected }) => ({ prompt, chosen, rejected }),
  );

caseTest("image_marks: questions lose their marks, and words stay apart", async () => {
  const [[inner]] = await vqa("image_marks/inner_mark.jsonl");
  assertEquals(inner.user, "Compare this picture\nwith this\nand say what differs.");
  const [[question]] = await vqa("image_marks/qa_mark.jsonl");
  assertEquals(question.user, "What colour?");
  const [pair] = await preference("image_marks/dpo_str_mark.jsonl");
  assertEquals(pair.prompt, [{ role: "user", content: "What colour?" }]);
  const grpo = await loadDataset({
    path: `${CASES}image_marks/grpo_str_mark.jsonl`,
    format: "grpo",
  });
  assertEquals((await grpo.get(0)).prompt, [{ role: "user", content: "What colour?" }]);
});

caseTest("image_marks/answer_mark: answers stay as they are", async () => {
  const [[turn]] = await vqa("image_marks/answer_mark.jsonl");
  assertEquals(turn.assistant, "Before\n\n![fig](<image>)\n\nAfter <image> tag");
});

caseTest("pref_history: the conversation before the answers is kept", async () => {
  const rows = await preference("pref_history/pref_multi.jsonl");
  const user = (content: string) => ({ role: "user" as const, content });
  const assistant = (content: string) => ({ role: "assistant" as const, content });
  assertEquals(rows.map(({ prompt }) => prompt), [
    [user("Q1"), assistant("A1"), user("Q2")],
    [{ role: "system", content: "S" }, user("Q1")],
    [user("Q1"), assistant("A1"), user("Q2")],
  ]);
  for (const { chosen, rejected } of rows) assertEquals([chosen, rejected], ["good", "bad"]);
});

caseTest("sft_system: system turns, and a weight of 0", async () => {
  assertEquals(await vqa("sft_system/d.json"), [
    [{ system: "You are helpful", user: "Hi", assistant: "yo" }],
    [
      { system: "ignored", user: "Hi", assistant: "bad", weight: 0 },
      { user: "again", assistant: "good" },
    ],
  ]);
  const [, second] = await preference("sft_system/d.json");
  assertEquals(second.prompt[0], { role: "system", content: "ignored" });
});

const answers: [string, string[]][] = [
  ["bool_answer", ["true", "true", "true"]],
  ["int_answer", ["3", "3", "3"]],
  ["texts_int", ["3", "3", "3"]],
];
for (const [name, wanted] of answers) {
  caseTest(`number_answers/${name}: as a person writes them`, async () => {
    const rows = await vqa(`number_answers/${name}.jsonl`);
    assertEquals(rows.map(([turn]) => turn.assistant), wanted);
  });
}

caseTest("number_answers/mixed: no row is lost", async () => {
  const rows = await vqa("number_answers/mixed.jsonl");
  assertEquals(new Set(rows.map(([turn]) => turn.assistant)), new Set(["3", "three"]));
  assertEquals(rows.length, 48);
});
