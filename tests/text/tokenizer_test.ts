import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { defaultExtraTokens } from "../../src/vlm_config.ts";
import { Tokenizer } from "../../src/text/tokenizer.ts";
import { byteLevelTokenizer, chatTokenizer } from "./byte_level_tokenizer.ts";

Deno.test("encode() merges, and splits at special tokens", () => {
  const tokenizer = byteLevelTokenizer();
  const the = tokenizer.tokenToId("Ġthe");
  assertEquals(tokenizer.encode(" the<|im_end|>"), [the, 2]);
  assertEquals(tokenizer.encode(""), []);
  assertEquals(tokenizer.encode("<|im_end").includes(2), false);
});

Deno.test("encode() gives a new array each time, so that callers may change it", () => {
  const tokenizer = byteLevelTokenizer();
  tokenizer.encode(" the").push(99);
  assertEquals(tokenizer.encode(" the").includes(99), false);
});

Deno.test("decode() inverts encode() for any text, astral characters included", () => {
  const tokenizer = chatTokenizer();
  for (const text of [" the 123 🙂\u0000\n\n ", "<|image|>x<|im_end|>", "Zażółć ½"]) {
    assertEquals(tokenizer.decode(tokenizer.encode(text)), text);
  }
});

Deno.test("decode() accepts no ids, only special ids, and ids beyond the vocabulary", () => {
  const tokenizer = chatTokenizer();
  assertEquals(tokenizer.decode([]), "");
  assertEquals(tokenizer.decode([2, 2], { skipSpecialTokens: true }), "");
  const [h] = tokenizer.encode("h");
  assertEquals(tokenizer.decode([h, tokenizer.vocabSize, 1e6, h]), "hh");
  assertEquals(tokenizer.decode(Int32Array.of(h, 2)), "h<|im_end|>");
});

Deno.test("decode() writes U+FFFD for bytes that are not UTF-8", () => {
  const tokenizer = byteLevelTokenizer();
  const ids = tokenizer.encode("🙂");
  assertEquals(tokenizer.decode(ids.slice(0, 2)), "\ufffd");
  assertEquals(tokenizer.decode(ids.slice(2)), "\ufffd\ufffd");
});

Deno.test("withExtraTokens() appends in order, pads with the end token, keeps the rest", () => {
  const base = byteLevelTokenizer();
  const size = base.vocabSize;
  const extended = base.withExtraTokens(defaultExtraTokens(), "{{ messages[0].content }}");
  assertEquals(extended.imageTokenId, size);
  assertEquals(extended.roleId("global_image_token"), size + 1);
  assertEquals(extended.roleId("r1c1"), size + 2);
  assertEquals(extended.roleId("r8c8"), size + 65);
  assertEquals(extended.vocabSize, size + 66);
  assertEquals(extended.padTokenId, extended.eosTokenId);
  assertEquals(extended.encode("a<row_8_col_8>")[1], size + 65);
  assertEquals(base.vocabSize, size);
  assertEquals(Object.keys(extended.extraTokens).length, 66);
});

Deno.test("withExtraTokens() keeps the ids of existing tokens", () => {
  const once = chatTokenizer();
  const twice = once.withExtraTokens({ ...defaultExtraTokens(), more: "<|more|>" });
  assertEquals(twice.imageTokenId, once.imageTokenId);
  assertEquals(twice.roleId("more"), once.vocabSize);
  assertEquals(twice.chatTemplate, once.chatTemplate);
});

Deno.test("save() and fromFolder() give the same tokenizer", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const tokenizer = chatTokenizer();
    await tokenizer.save(`${dir}/deep/folder`);
    const loaded = await Tokenizer.fromFolder(`${dir}/deep/folder`);
    const text = "<|im_start|>user\n<|image|> the 1<|im_end|>";
    assertEquals(loaded.encode(text), tokenizer.encode(text));
    assertEquals(loaded.extraTokens, tokenizer.extraTokens);
    assertEquals(loaded.chatTemplate, tokenizer.chatTemplate);
    assertEquals([loaded.eosTokenId, loaded.padTokenId, loaded.bosTokenId], [2, 2, 1]);
    const config = JSON.parse(
      await Deno.readTextFile(`${dir}/deep/folder/tokenizer_config.json`),
    );
    assertEquals(config.added_tokens_decoder[String(tokenizer.imageTokenId)].special, true);
    assertEquals(config.tokenizer_class, "PreTrainedTokenizerFast");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("fromFolder() prefers chat_template.jinja", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await chatTokenizer().save(dir);
    await Deno.writeTextFile(`${dir}/chat_template.jinja`, "{{ messages[0].content }}!");
    const tokenizer = await Tokenizer.fromFolder(dir);
    assertEquals(tokenizer.applyChatTemplate([{ role: "user", content: "hi" }]), "hi!");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("fromFolder() says what is missing or broken", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await assertRejects(() => Tokenizer.fromFolder(dir), Error, "there is no tokenizer.json");
    await Deno.writeTextFile(`${dir}/tokenizer.json`, "{oops");
    await assertRejects(() => Tokenizer.fromFolder(dir), Error, "it is not JSON");
    await Deno.writeTextFile(`${dir}/tokenizer.json`, "{}");
    await assertRejects(() => Tokenizer.fromFolder(dir), Error, 'no "model.vocab"');
    const entry = { model: { vocab: {} }, added_tokens: [{ id: "1" }] };
    await Deno.writeTextFile(`${dir}/tokenizer.json`, JSON.stringify(entry));
    await assertRejects(() => Tokenizer.fromFolder(dir), Error, "an added token is");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a tokenizer without a template or an image token says how to get one", () => {
  const tokenizer = byteLevelTokenizer();
  assertThrows(() => tokenizer.applyChatTemplate([]), Error, "withExtraTokens()");
  assertThrows(() => tokenizer.imageTokenId, Error, "vlm_extra_tokens");
  assert(tokenizer.roleId("image_token") === null);
});
