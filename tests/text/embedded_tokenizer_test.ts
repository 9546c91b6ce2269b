import { assert, assertEquals } from "@std/assert";
import { everyAnswer, everyQuestion } from "../../src/data/embedded/embedded_shapes_questions.ts";
import { defaultExtraTokens } from "../../src/vlm_config.ts";
import { embeddedTokenizerFiles } from "../../src/text/embedded_tokenizer.ts";
import { Tokenizer } from "../../src/text/tokenizer.ts";
import { learnMerges } from "../../src/text/train_bpe.ts";
import { embeddedTokenizerCorpus, MERGE_COUNT } from "./embedded_tokenizer_corpus.ts";

const tokenizer = Tokenizer.fromJson(embeddedTokenizerFiles());

Deno.test("the embedded tokenizer equals the one trained on its corpus (else run embedded_tokenizer_corpus.ts)", () => {
  assertEquals(
    embeddedTokenizerFiles().tokenizer.model.merges,
    learnMerges(embeddedTokenizerCorpus(), MERGE_COUNT).map((pair) => [...pair]),
  );
});

Deno.test("every word of every embedded question and answer is one token", () => {
  for (const answer of everyAnswer()) assertEquals(tokenizer.encode(answer).length, 1, answer);
  for (const question of everyQuestion()) {
    const words = question.match(/\w+|[?.]/g)?.length;
    assertEquals(tokenizer.encode(question).length, words, question);
  }
});

Deno.test("the embedded tokenizer encodes and decodes any text", () => {
  for (
    const text of [
      "How many shapes are there?",
      "Ünïcödé — 漢字 🙂 עברית",
      "  two  spaces\n\n\tand 1234 digits, isn't it?",
      "\u0000\u007f\ufeff",
      everyQuestion().join(" "),
    ]
  ) assertEquals(tokenizer.decode(tokenizer.encode(text)), text);
});

Deno.test("the embedded tokenizer has SmolLM2's special tokens and accepts nanoVLM's", () => {
  assertEquals(tokenizer.encode("<|endoftext|><|im_start|><|im_end|>"), [0, 1, 2]);
  assertEquals(tokenizer.eosTokenId, 2);
  const extended = tokenizer.withExtraTokens(defaultExtraTokens());
  assertEquals([extended.vocabSize, extended.imageTokenId], [578, 512]);
});

Deno.test("a turn of the embedded chat is short", () => {
  const text = tokenizer.applyChatTemplate([
    { role: "user", content: "How many shapes are there?" },
    { role: "assistant", content: "3" },
  ]);
  assertEquals(
    text,
    "<|im_start|>user\nHow many shapes are there?<|im_end|>\n" +
      "<|im_start|>assistant\n3<|im_end|>\n",
  );
  const ids = tokenizer.encode(text);
  assertEquals(ids.length, 3 + 6 + 2 + 3 + 1 + 2);
  assert(ids.every((id) => id < 512));
});

Deno.test("learnMerges() merges the most frequent pair first, and the first of equals", () => {
  const merges = learnMerges([{ text: "abab", weight: 3 }, { text: "cd", weight: 6 }], 9);
  assertEquals(merges, [["a", "b"], ["c", "d"], ["ab", "ab"]]);
  assertEquals(learnMerges([{ text: "a1b 2", weight: 1 }], 9), []);
});
