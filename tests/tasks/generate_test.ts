/** What `generate` does beside the answer: pictures by a pattern, conversations, probabilities. */
import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import type { LoadedModel } from "../../src/generate/load_model.ts";
import { parseGenerateArguments } from "../../tasks/generate.ts";
import { type AnswerOptions, answerPrompt, sureLine } from "../../tasks/generate_answer.ts";
import { chat } from "../../tasks/generate_chat.ts";
import { promptPictures } from "../../tasks/picture_paths.ts";
import { textLines } from "../../tasks/text_lines.ts";
import { UsageError } from "../../tasks/usage_error.ts";
import { RED_PIXEL } from "../data/sources/parquet_fixture.ts";
import { tinyModel } from "../library/tiny_model.ts";

const OPTIONS: AnswerOptions = {
  ...{ maxNewTokens: 4, greedy: true, temperature: 1, topP: 1, topK: 0, minP: 0 },
  ...{ repetitionPenalty: 1, stop: [], seed: 0, probs: true },
};

const parse = (...args: string[]) => parseGenerateArguments(["--model", "m", ...args]);

Deno.test("generate is greedy unless an option of sampling is given", () => {
  const isGreedy = (...args: string[]) => parse("--prompt", "x", ...args).greedy;
  assertEquals(isGreedy(), true);
  assertEquals(isGreedy("--max-new-tokens", "3"), true);
  for (const option of ["temperature", "top-p", "top-k", "min-p", "seed"]) {
    assertEquals(isGreedy(`--${option}`, "1"), false, option);
  }
  assertEquals(isGreedy("--seed", "1", "--greedy"), true);
  assertEquals(isGreedy("--seed", "1", "--temperature", "0"), true);
});

Deno.test("--chat takes no prompt, and without it a prompt is wanted", () => {
  assertEquals(parse("--chat").prompt, null);
  assertThrows(() => parse("--chat", "--prompt", "x"), UsageError, "leave out --prompt");
  assertThrows(() => parse(), UsageError, "--prompt");
});

Deno.test("promptPictures() takes paths as one prompt and a pattern as one prompt a picture", async () => {
  const root = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${root}/deep/er`, { recursive: true });
    for (const name of ["b.png", "a.png", "c.jpg", "deep/d.png", "deep/er/e.png", "[f].png"]) {
      await Deno.writeTextFile(`${root}/${name}`, "");
    }
    const below = (...names: string[]) => names.map((name) => [`${root}/${name}`]);
    assertEquals(await promptPictures([]), { prompts: [[]], isPattern: false });
    const both = [`${root}/b.png`, `${root}/a.png`];
    assertEquals(await promptPictures(both), { prompts: [both], isPattern: false });
    assertEquals(
      (await promptPictures([`${root}/?.png`])).prompts,
      below("a.png", "b.png"),
    );
    assertEquals(
      (await promptPictures([`${root}/deep/**/*.png`])).prompts,
      below("deep/d.png", "deep/er/e.png"),
    );
    // A file of that very name is no pattern.
    assertEquals((await promptPictures([`${root}/[f].png`])).isPattern, false);
    await assertRejects(() => promptPictures([`${root}/*.gif`]), UsageError, "no file has such");
    await assertRejects(() => promptPictures([`${root}/no/*.png`]), UsageError, "no folder");
    await assertRejects(
      () => promptPictures([`${root}/*.png`, `${root}/c.jpg`]),
      UsageError,
      "cannot stand beside others",
    );
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});

Deno.test("textLines() cuts a stream into lines wherever its pieces end", async () => {
  const pieces = ["one\ntw", "o\r\n", "\nlast"];
  const stream = ReadableStream.from(pieces).pipeThrough(new TextEncoderStream());
  assertEquals(await Array.fromAsync(textLines(stream)), ["one", "two", "", "last"]);
});

async function loadedTiny(): Promise<LoadedModel & Disposable> {
  const model = await tinyModel();
  return {
    model,
    tokenizer: model.tokenizer!,
    imageProcessor: model.imageProcessor!,
    [Symbol.dispose]: () => model.dispose(),
  };
}

Deno.test("an answer's probability is the product over its tokens, and the alternatives are the softmax", async () => {
  using loaded = await loadedTiny();
  const messages = [{ role: "user" as const, content: "Which colour?" }];
  const pieces: string[] = [];
  const answer = await answerPrompt(loaded, { messages, images: [] }, OPTIONS, {
    onText: (piece) => pieces.push(piece),
  });
  assertEquals(pieces.join(""), answer.text);
  const { probability, first } = answer.sure!;
  assert(probability > 0 && probability <= first[0].probability);
  assertEquals(
    first.map((one) => one.probability),
    first.map((one) => one.probability).sort().reverse(),
  );
  // One token alone has the probability that the list gives to it.
  const alone = await answerPrompt(
    loaded,
    { messages, images: [] },
    { ...OPTIONS, maxNewTokens: 1 },
    {},
  );
  assertAlmostEquals(alone.sure!.probability, first[0].probability, 1e-5);
  assert(sureLine(answer.sure!).startsWith("probability of this answer: "));
  const quiet = await answerPrompt(
    loaded,
    { messages, images: [] },
    { ...OPTIONS, probs: false },
    {},
  );
  assertEquals([quiet.sure, quiet.text], [null, answer.text]);
});

Deno.test("a conversation keeps its messages until /new, and a picture that is not there does not end it", async () => {
  using loaded = await loadedTiny();
  const file = await Deno.makeTempFile({ suffix: ".png" });
  await Deno.writeFile(file, RED_PIXEL);
  const [log, write] = [console.error, Deno.stdout.writeSync];
  const told: string[] = [];
  let answered = "";
  console.error = (text: string) => told.push(text);
  Deno.stdout.writeSync = (bytes) => {
    answered += new TextDecoder().decode(bytes);
    return bytes.length;
  };
  const talk = async (...typed: string[]) => {
    answered = "";
    const { signal } = new AbortController();
    const lines = ReadableStream.from(typed);
    const options = { ...OPTIONS, probs: false, stop: ["\n"] }; // a line an answer
    await chat(loaded, [], options, { lines, signal, isTerminal: false });
    return answered.split("\n").slice(0, -1);
  };
  try {
    const [once] = await talk("Which colour?");
    const again = await talk(
      "Which colour?",
      "Which colour?",
      "/new",
      "Which colour?",
      "/quit",
      "x",
    );
    assertEquals(again.length, 3);
    assertEquals([again[0], again[2]], [once, once]);
    const seen = await talk(`/image ${file}`, "/image no.png", "Which colour?");
    assertEquals(seen.length, 1);
    assertEquals(told.includes("a new conversation about 1 pictures"), true);
    assertEquals(told.some((text) => text.includes("no.png")), true);
  } finally {
    console.error = log;
    Deno.stdout.writeSync = write;
    await Deno.remove(file);
  }
});
