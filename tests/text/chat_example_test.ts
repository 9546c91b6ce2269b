import { assertEquals, assertThrows } from "@std/assert";
import { defaultExtraTokens } from "../../src/vlm_config.ts";
import { IGNORED_LABEL } from "../../src/ignored_label.ts";
import {
  ChatExampleBuilder,
  type ConversationMessage,
  splitTurns,
} from "../../src/text/chat_example.ts";
import { byteLevelTokenizer, chatTokenizer } from "./byte_level_tokenizer.ts";

const user = (content: string) => ({ role: "user", content });
const assistant = (content: string) => ({ role: "assistant", content });
const system = (content: string) => ({ role: "system", content });

const tokenizer = chatTokenizer();
const builder = new ChatExampleBuilder(tokenizer, { mpImageTokenLength: 2 });

/** Text of the positions that the mask keeps. */
function maskedText(example: { inputIds: number[]; lossMask: number[] }): string {
  return tokenizer.decode(example.inputIds.filter((_, t) => example.lossMask[t] === 1));
}

Deno.test("build() puts the images before the first user's text", () => {
  const example = builder.build([system("s"), user("q"), assistant("a")], [[1, 1]]);
  assertEquals(
    tokenizer.decode(example.inputIds),
    "<|im_start|>system\ns<|im_end|>\n" +
      "<|im_start|>user\n<|global_image|><|image|><|image|>q<|im_end|>\n" +
      "<|im_start|>assistant\na<|im_end|>\n",
  );
  assertEquals(example.imageTokenCount, 2);
});

Deno.test("build() labels each answer, its end token and the newline, shifted by one", () => {
  const example = builder.build(
    [user("q"), assistant(" x\n"), user("r"), assistant("")],
    [],
  );
  assertEquals(maskedText(example), " x\n<|im_end|>\n<|im_end|>\n");
  const { inputIds, labels, lossMask } = example;
  assertEquals(labels[labels.length - 1], IGNORED_LABEL);
  for (let t = 0; t + 1 < inputIds.length; t++) {
    assertEquals(labels[t], lossMask[t + 1] === 1 ? inputIds[t + 1] : IGNORED_LABEL);
  }
  assertEquals(example.attentionMask, inputIds.map(() => 1));
});

Deno.test("build() removes image tokens typed in texts, also nested ones", () => {
  const typed = "<|im<|image|>age|>a<row_1_col_1>b<|global_<|image|>image|>";
  const example = builder.build([user(typed), assistant("<|image|>c<|image|>")], [[1, 1]]);
  assertEquals(example.imageTokenCount, 2);
  assertEquals(
    tokenizer.decode(example.inputIds),
    "<|im_start|>user\n<|global_image|><|image|><|image|>ab<|im_end|>\n" +
      "<|im_start|>assistant\nc<|im_end|>\n",
  );
});

Deno.test("stripTypedTokens: image leaves row and column tokens, as nanoVLM does", () => {
  const like = new ChatExampleBuilder(tokenizer, {
    mpImageTokenLength: 2,
    stripTypedTokens: "image",
  });
  assertEquals(like.stripTypedTokens("<|image|>a<row_1_col_1>"), "a<row_1_col_1>");
  assertEquals(builder.stripTypedTokens("<|image|>a<row_1_col_1>"), "a");
});

const HISTORY = [
  system("s"),
  user("q"),
  assistant("one"),
  user("r"),
  assistant("two"),
];

Deno.test("lossTokens last_answer labels the last answer alone, unless its weight is 0", () => {
  const last = new ChatExampleBuilder(tokenizer, {
    mpImageTokenLength: 2,
    lossTokens: "last_answer",
  });
  const example = last.build(HISTORY, [[1, 1]]);
  assertEquals(maskedText(example), "two<|im_end|>\n");
  assertEquals(example.inputIds, builder.build(HISTORY, [[1, 1]]).inputIds);
  // A question without an answer comes after it.
  assertEquals(maskedText(last.build([...HISTORY, user("open")], [])), "two<|im_end|>\n");
  const weighed = HISTORY.map((message, i): ConversationMessage =>
    i === 4 ? { ...message, weight: 0 } : message
  );
  assertEquals(maskedText(last.build(weighed, [])), "");
});

Deno.test("lossTokens all labels everything but pictures and answers of weight 0", () => {
  const all = new ChatExampleBuilder(tokenizer, { mpImageTokenLength: 2, lossTokens: "all" });
  const example = all.build(HISTORY, [[2, 1]]);
  assertEquals(example.inputIds, builder.build(HISTORY, [[2, 1]]).inputIds);
  assertEquals(
    maskedText(example),
    "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nq<|im_end|>\n" +
      "<|im_start|>assistant\none<|im_end|>\n<|im_start|>user\nr<|im_end|>\n" +
      "<|im_start|>assistant\ntwo<|im_end|>\n",
  );
  const { inputIds, labels, lossMask } = example;
  const left = lossMask.flatMap((mask, t) => mask === 0 ? [tokenizer.idToToken(inputIds[t])] : []);
  assertEquals(left, [
    "<|global_image|>",
    "<|image|>",
    "<|image|>",
    "<row_1_col_1>",
    "<|image|>",
    "<|image|>",
    "<row_2_col_1>",
    "<|image|>",
    "<|image|>",
  ]);
  // The first token is predicted by none; every other one by the one before it.
  assertEquals(labels.filter((label) => label !== IGNORED_LABEL).length, inputIds.length - 10);
  const weighed = HISTORY.map((message, i): ConversationMessage =>
    i === 2 ? { ...message, weight: 0 } : message
  );
  assertEquals(maskedText(all.build(weighed, [])).includes("one"), false);
});

Deno.test("build() finds answers if the template adds its own system prompt", () => {
  const template = "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nHelp.<|im_end|>\n" +
    "{% endif %}{% for message in messages %}<|im_start|>{{ message['role'] }}\n" +
    "{{ message['content'] }}<|im_end|>\n{% endfor %}" +
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
  // trim_blocks eats the newline after a block, so it is written as a string there
  const spelled = template.replaceAll("\n", "{{ '\\n' }}");
  const other = byteLevelTokenizer().withExtraTokens(defaultExtraTokens(), spelled);
  const example = new ChatExampleBuilder(other, { mpImageTokenLength: 2 }).build(
    [user("q"), assistant("one"), user("r"), assistant("two")],
    [],
  );
  assertEquals(maskedText(example), "one<|im_end|>\ntwo<|im_end|>\n");
  assertEquals(
    other.decode(example.inputIds).startsWith("<|im_start|>system\nHelp.<|im_end|>\n"),
    true,
  );
});

Deno.test("a template that drops answers, or rewrites them later, is refused", () => {
  const drops = byteLevelTokenizer().withExtraTokens({}, "{{ 'x' }}");
  assertThrows(
    () => new ChatExampleBuilder(drops, { mpImageTokenLength: 1 }),
    Error,
    "does not print an assistant message",
  );
  const rewrites = byteLevelTokenizer().withExtraTokens(
    {},
    "{{ messages | length }}{% for m in messages %}{{ m['content'] }}{% endfor %}",
  );
  assertThrows(
    () =>
      new ChatExampleBuilder(rewrites, { mpImageTokenLength: 1 })
        .build([user("q"), assistant("a")], []),
    Error,
    "prints it in another way",
  );
});

Deno.test("buildTurns() makes one example per answer, with the images before each", () => {
  const turns = builder.buildTurns(
    [system("s"), user("q"), assistant("one"), user("r"), assistant("two"), user("open")],
    [[1, 1]],
  );
  assertEquals(turns.map(maskedText), ["one<|im_end|>\n", "two<|im_end|>\n"]);
  assertEquals(turns.map((turn) => turn.imageTokenCount), [2, 2]);
  assertEquals(
    tokenizer.decode(turns[1].inputIds),
    "<|im_start|>system\ns<|im_end|>\n" +
      "<|im_start|>user\n<|global_image|><|image|><|image|>r<|im_end|>\n" +
      "<|im_start|>assistant\ntwo<|im_end|>\n",
  );
  assertEquals(splitTurns([user("no answer")]), []);
});

Deno.test("buildPrompt() ends with the header of the answer", () => {
  const text = tokenizer.decode(builder.buildPrompt([user("q")], [[1, 1]]));
  assertEquals(
    text,
    "<|im_start|>user\n<|global_image|><|image|><|image|>q<|im_end|>\n<|im_start|>assistant\n",
  );
});

Deno.test("buildPreference() ends answers with the end token, unless it is cut", () => {
  const row = { prompt: "q", chosen: "abc", rejected: "<|image|>d" };
  const free = builder.buildPreference(row, [[1, 1]]);
  assertEquals(tokenizer.decode(free.chosenIds), "abc<|im_end|>");
  assertEquals(tokenizer.decode(free.rejectedIds), "d<|im_end|>");
  assertEquals(free.imageTokenCount, 2);
  const cut = builder.buildPreference(row, [[1, 1]], 3);
  assertEquals(tokenizer.decode(cut.chosenIds), "abc");
  assertEquals(builder.buildPreference({ ...row, prompt: [user("q")] }, [[1, 1]]), free);
});

Deno.test("build() does not change the caller's messages", () => {
  const messages = [user("<|image|>q"), assistant("a")];
  builder.build(messages, [[1, 1]]);
  assertEquals(messages[0].content, "<|image|>q");
});

Deno.test("build() puts images where messages place them, if they place every one", () => {
  const grids: [number, number][] = [[1, 1], [1, 1]];
  const image = "<|global_image|><|image|><|image|>";
  const question = (message: ConversationMessage, images: [number, number][]) => {
    const text = tokenizer.decode(builder.buildPrompt([message], images));
    return text.slice("<|im_start|>user\n".length, text.indexOf("<|im_end|>"));
  };
  assertEquals(
    question({ ...user("Compare\nwith"), pictures: [8, 12] }, grids),
    `Compare\n<image: 0>${image}with<image: 1>${image}`,
  );
  assertEquals(
    question({ ...user("a"), pictures: [1] }, grids),
    `<image: 0>${image}<image: 1>${image}a`,
  );
  assertEquals(question({ ...user("a"), pictures: [1] }, [[1, 1]]), `a${image}`);
});

Deno.test("build() labels no answer whose weight is 0", () => {
  const example = builder.build(
    [user("q"), { ...assistant("x"), weight: 0 }, user("r"), assistant("y")],
    [],
  );
  assertEquals(maskedText(example), "y<|im_end|>\n");
});
