import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { answerEnds } from "../../src/text/answer_end.ts";
import { ChatExampleBuilder } from "../../src/text/chat_example.ts";
import { Tokenizer } from "../../src/text/tokenizer.ts";
import type { TokenizerConfigJson } from "../../src/text/tokenizer_json.ts";
import { DEFAULT_CHAT_TEMPLATE } from "../../src/vlm_config.ts";
import { byteLevelTokenizer, chatTokenizer } from "./byte_level_tokenizer.ts";

// Ids 0, 1, 2: <|endoftext|>, <|im_start|>, <|im_end|>.
const base = byteLevelTokenizer().files.tokenizer;

function tokenizer(config: TokenizerConfigJson): Tokenizer {
  return Tokenizer.fromJson({
    tokenizer: base,
    config: { chat_template: DEFAULT_CHAT_TEMPLATE, ...config },
  });
}

Deno.test("answerEnds() finds one end if tokenizer and template agree", () => {
  assertEquals(answerEnds(chatTokenizer()), { trained: 2, stops: [2], problem: null });
});

Deno.test("answerEnds() stops at the template's end and at eos_token, and names the key", () => {
  const ends = answerEnds(tokenizer({ eos_token: "<|endoftext|>" }));
  assertEquals([ends.trained, ends.stops], [2, [2, 0]]);
  assertStringIncludes(ends.problem!, 'set eos_token in tokenizer_config.json to "<|im_end|>"');
});

Deno.test("answerEnds() takes the template's end if the tokenizer names none", () => {
  const ends = answerEnds(tokenizer({}));
  assertEquals([ends.trained, ends.stops], [2, [2]]);
  assertStringIncludes(ends.problem!, "eos_token is missing");
});

Deno.test("answerEnds() says that a template writes no end", () => {
  const ends = answerEnds(tokenizer({
    eos_token: "<|endoftext|>",
    chat_template: "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}",
  }));
  assertEquals([ends.trained, ends.stops], [0, [0]]);
  assertStringIncludes(ends.problem!, "lm_chat_template");
});

Deno.test("answerEnds() asks with a question if the template refuses an answer alone", () => {
  const ends = answerEnds(tokenizer({
    eos_token: "<|im_end|>",
    chat_template: "{% if messages[0].role != 'user' %}{{ raise_exception('no') }}{% endif %}" +
      DEFAULT_CHAT_TEMPLATE,
  }));
  assertEquals(ends, { trained: 2, stops: [2], problem: null });
});

Deno.test("answerEnds() reads eos_token_id of generation_config.json", async () => {
  for (const [ids, problem] of [[[2, 0], null], [0, "add 2 to eos_token_id"]] as const) {
    const dir = await Deno.makeTempDir();
    try {
      await chatTokenizer().save(dir);
      const config = JSON.stringify({ eos_token_id: ids });
      await Deno.writeTextFile(`${dir}/generation_config.json`, config);
      const ends = answerEnds(await Tokenizer.fromFolder(dir));
      assertEquals([ends.trained, ends.stops], [2, [2, 0]]);
      assertEquals(ends.problem === null, problem === null);
      assert(problem === null || ends.problem!.includes(problem));
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  }
});

Deno.test("SFT labels, preference answers and generation end with the same token", () => {
  for (const eos of ["<|endoftext|>", "<|im_end|>"]) {
    const plain = tokenizer({ eos_token: eos });
    const builder = new ChatExampleBuilder(plain, { mpImageTokenLength: 1 });
    const messages = [{ role: "user", content: "q" }, { role: "assistant", content: "a" }];
    const { inputIds, lossMask } = builder.build(messages, []);
    const labelled = inputIds.filter((_, t) => lossMask[t] === 1);
    const end = answerEnds(plain).trained;
    assert(labelled.includes(end));
    assertEquals(builder.buildCompletion("a").at(-1), end);
    assertEquals(answerEnds(plain).stops[0], end);
  }
});
