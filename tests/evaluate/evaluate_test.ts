import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { datasetFromRows } from "../../src/data/load_dataset.ts";
import type { Row } from "../../src/data/rows/row.ts";
import { answerQuestions } from "../../src/evaluate/answer_questions.ts";
import { evaluatePreference, type ScoredPair } from "../../src/evaluate/evaluate_preference.ts";
import { evaluateRewards, type ScoredAnswer } from "../../src/evaluate/evaluate_rewards.ts";
import { type AnsweredQuestion, evaluateVqa } from "../../src/evaluate/evaluate_vqa.ts";
import { evaluationData, formatOfData } from "../../src/evaluate/evaluation_data.ts";
import { chatBuilder, type Question } from "../../src/evaluate/question_rows.ts";
import { RewardSandbox } from "../../src/rewards/reward_sandbox.ts";
import { talkingModel, tokenizer } from "../generate/talking_model.ts";

/** Rows with pictures, two or three turns each. */
async function vqaRows(count: number): Promise<Row[]> {
  const shapes = await evaluationData("builtin:shapes", "vqa", { limit: count });
  const rows: Row[] = [];
  for await (const { images, turns, columns } of shapes) {
    rows.push({
      ...columns,
      images: images.map(({ bytes }) => bytes),
      texts: turns.map((turn) => ({ ...turn })),
    });
  }
  return rows;
}

Deno.test("answerQuestions() gives each question the answer that it gets alone, in order", async () => {
  const loaded = await talkingModel();
  const rows = await vqaRows(6);
  const dataset = await datasetFromRows(rows, { format: "vqa" });
  const asked: Question[] = [];
  await evaluateVqa(loaded, dataset, {
    maxNewTokens: 3,
    onAnswer: (_, source) => void asked.push(source),
  });
  asked.push({ ...asked[0], images: [], question: "no picture" });
  const progress: number[] = [];
  const together = await answerQuestions(loaded.model, tokenizer, asked, {
    batchSize: 7,
    maxNewTokens: 5,
    onProgress: (answered) => progress.push(answered),
  });
  const alone: string[] = [];
  for (const question of asked) {
    const [answer] = await answerQuestions(loaded.model, tokenizer, [question], {
      maxNewTokens: 5,
    });
    alone.push(answer);
  }
  assertEquals(together, alone);
  assert(new Set(together).size > 3, "the model's answers differ");
  assertEquals(progress.at(-1), asked.length);
  assert(progress.length > 2 && progress.every((n, i) => n > (progress[i - 1] ?? 0)));
  loaded.model.dispose();
});

Deno.test("evaluateVqa() asks each turn alone, or with the expected answers before it", async () => {
  const loaded = await talkingModel();
  const rows = await vqaRows(5);
  const turns = rows.flatMap(({ texts }) => texts as Row[]);
  const plain: [AnsweredQuestion, Question][] = [];
  const options = { maxNewTokens: 3, batchSize: 4 };
  const before = tf.memory().numTensors;
  const scores = await evaluateVqa(loaded, await datasetFromRows(rows, { format: "vqa" }), {
    ...options,
    onAnswer: (answered, source) => void plain.push([answered, source]),
  });
  assertEquals(tf.memory().numTensors, before);
  assertEquals(scores.examples, 5);
  assertEquals(scores.questions, turns.length);
  assertEquals(plain.map(([{ question }]) => question), turns.map(({ user }) => user));
  assertEquals(plain.map(([{ expected }]) => expected), turns.map(({ assistant }) => assistant));
  assert(plain.every(([, { messages }]) => messages.length === 1));
  assertEquals(plain.map(([{ type }]) => type), rows.flatMap((row) => row.answer_type));
  let typed = 0;
  for (const { questions } of scores.byType.values()) typed += questions;
  assertEquals(typed, turns.length);
  const histories: Question[] = [];
  await evaluateVqa(loaded, await datasetFromRows(rows, { format: "vqa" }), {
    ...options,
    withHistory: true,
    onAnswer: (_, source) => void histories.push(source),
  });
  const second = histories[1];
  assertEquals(second.messages.map(({ role }) => role), ["user", "assistant", "user"]);
  assertEquals(second.messages[1].content, turns[0].assistant);
  loaded.model.dispose();
});

Deno.test("evaluateVqa() counts a right answer as right", async () => {
  const loaded = await talkingModel();
  const [row] = await vqaRows(1);
  let said = "";
  await evaluateVqa(loaded, await datasetFromRows([row], { format: "vqa" }), {
    maxNewTokens: 3,
    onAnswer: ({ answer }) => void (said ||= answer.trim()),
  });
  assert(said !== "");
  const texts = [{ user: (row.texts as Row[])[0].user, assistant: ` ${said.toUpperCase()} ` }];
  const dataset = await datasetFromRows([{ images: row.images, texts }], { format: "vqa" });
  const scores = await evaluateVqa(loaded, dataset, { maxNewTokens: 3 });
  assertEquals(scores, {
    examples: 1,
    questions: 1,
    exactMatch: 1,
    byType: new Map(),
    metrics: new Map(),
  });
  loaded.model.dispose();
});

Deno.test("a picture that cannot be decoded is skipped and counted", async () => {
  const loaded = await talkingModel();
  const rows = await vqaRows(20);
  rows[3] = { ...rows[3], images: [new Uint8Array([1, 2, 3])] };
  const dataset = await datasetFromRows(rows, { format: "vqa" });
  const scores = await evaluateVqa(loaded, dataset, { maxNewTokens: 1 });
  assertEquals(scores.examples, 19);
  assertEquals(dataset.skipped.count, 1);
  loaded.model.dispose();
});

Deno.test("evaluatePreference() compares what separate forwards give", async () => {
  const loaded = await talkingModel();
  const dataset = await evaluationData("builtin:shapes", "preference", { limit: 7 });
  const pairs: ScoredPair[] = [];
  const scores = await evaluatePreference(loaded, dataset, {
    batchSize: 3,
    onPair: (pair) => void pairs.push(pair),
  });
  const builder = chatBuilder(loaded);
  const sum = async (prompt: number[], answer: number[], tiles: Float32Array) => {
    const inputIds = [[...prompt, ...answer]];
    const { logits, loss } = loaded.model.forward({
      inputIds,
      images: [{ tiles, tileCount: 1 }],
      labels: inputIds.map((ids) =>
        ids.map((_, t) => t + 1 >= prompt.length ? ids[t + 1] ?? -100 : -100)
      ),
    });
    const [mean] = await loss!.data();
    tf.dispose([logits ?? [], loss!]);
    return -mean * answer.length;
  };
  for (const [i, pair] of pairs.entries()) {
    const example = await dataset.get(i);
    const { tiles, grid } = await loaded.imageProcessor.process(example.images[0].bytes);
    const ids = builder.buildPreference(example, [grid]);
    assertAlmostEquals(pair.chosenLogProb, await sum(ids.promptIds, ids.chosenIds, tiles), 1e-3);
    const rejected = await sum(ids.promptIds, ids.rejectedIds, tiles);
    assertAlmostEquals(pair.rejectedLogProb, rejected, 1e-3);
    assertEquals(pair.correct, pair.chosenLogProb > pair.rejectedLogProb);
  }
  const right = pairs.filter(({ correct }) => correct).length;
  assertEquals([scores.examples, scores.accuracy], [7, right / 7]);
  loaded.model.dispose();
});

Deno.test("evaluateRewards() gives columns to the functions and means over what they scored", async () => {
  const loaded = await talkingModel();
  const dataset = await evaluationData("builtin:shapes", "grpo", { limit: 9 });
  const scored: ScoredAnswer[] = [];
  await using sandbox = await RewardSandbox.start([{ module: "builtin:exact_match" }]);
  const scores = await evaluateRewards(loaded, dataset, sandbox, {
    batchSize: 4,
    maxNewTokens: 3,
    onAnswer: (answer) => void scored.push(answer),
  });
  assertEquals(scores.examples, 9);
  assertEquals(scored.length, 9);
  assert(scored.every(({ reward }) => reward === 0 || reward === 1));
  const mean = scored.reduce((sum, { reward }) => sum + (reward ?? 0), 0) / 9;
  assertAlmostEquals(scores.reward, mean, 1e-12);
  assertEquals([...scores.rewards.keys()], [...sandbox.functions]);
  loaded.model.dispose();
});

Deno.test("evaluateRewards() samples several answers a prompt, the same in any batch", async () => {
  const loaded = await talkingModel();
  const dataset = await evaluationData("builtin:shapes", "grpo", { limit: 5 });
  await using sandbox = await RewardSandbox.start([{ module: "builtin:exact_match" }]);
  const run = async (batchSize: number) => {
    const scored: ScoredAnswer[] = [];
    const { spread, examples } = await evaluateRewards(loaded, dataset, sandbox, {
      batchSize,
      maxNewTokens: 3,
      sampling: { samples: 4, temperature: 1.5, seed: 7 },
      onAnswer: (answer) => void scored.push(answer),
    });
    assertEquals(examples, 5);
    return { scored, spread };
  };
  const one = await run(4), two = await run(12);
  assertEquals(one.scored.map(({ answer }) => answer), two.scored.map(({ answer }) => answer));
  assertEquals(one.scored.map(({ sample }) => sample).slice(0, 5), [0, 1, 2, 3, 0]);
  assert(new Set(one.scored.slice(0, 4).map(({ answer }) => answer)).size > 1, "answers differ");
  assertEquals(one.spread!.samples, 4);
  const right = one.scored.filter(({ reward }) => reward === 1).length;
  assertAlmostEquals([...one.spread!.passAt.values()][0].get(1)!, right / 20, 1e-12);
  assertEquals(one.spread, two.spread);
  loaded.model.dispose();
});

Deno.test("formatOfData() tells formats by their columns, and says what is wanted", async () => {
  const folder = await Deno.makeTempDir();
  const format = async (row: Row) => {
    await Deno.writeTextFile(`${folder}/data.jsonl`, JSON.stringify(row) + "\n");
    return await formatOfData(`${folder}/data.jsonl`);
  };
  assertEquals(await format({ prompt: "a", chosen: "b", rejected: "c" }), "preference");
  assertEquals(await format({ texts: [{ user: "a", assistant: "b" }] }), "vqa");
  assertEquals(await format({ prompt: "a", answer: "b" }), "grpo");
  await assertRejects(() => format({ question: "a" }), Error, "Cannot tell what");
  await Deno.remove(folder, { recursive: true });
});

Deno.test("evaluateVqa() scores by metrics with all accepted answers, by group", async () => {
  const loaded = await talkingModel();
  const [{ images }] = await vqaRows(1);
  const rows: Row[] = [{ images, texts: [{ user: "Q", assistant: "x" }], kind: "other" }];
  const first: AnsweredQuestion[] = [];
  const options = { maxNewTokens: 3, onAnswer: (one: AnsweredQuestion) => void first.push(one) };
  await evaluateVqa(loaded, await datasetFromRows(rows, { format: "vqa" }), options);
  const [{ answer, scores: none }] = first;
  assertEquals(none, {});
  // The column `answers` counts, and not the turn's own answer.
  rows.push({ ...rows[0], answers: ["nothing", answer], kind: "known" });
  rows.push({
    ...rows[0],
    answers: ["a", answer, answer, answer, answer].map((answer) => ({ answer })),
  });
  const measured = await evaluateVqa(loaded, await datasetFromRows(rows, { format: "vqa" }), {
    ...options,
    metrics: [{ name: "contains" }, { name: "vqa_accuracy", style: "vqav2" }],
    groupBy: "kind",
  });
  const contains = measured.metrics.get("contains")!;
  assertEquals(contains.overall.questions, 3);
  assertAlmostEquals(contains.overall.mean, 2 / 3, 1e-12);
  assertEquals([...contains.byGroup].map(([group, { mean }]) => [group, mean]), [
    ["known", 1],
    ["other", 0.5],
  ]);
  assertEquals(first.at(-1)!.scores, { contains: 1, vqa_accuracy: 1 });
  loaded.model.dispose();
});
