import { assertEquals } from "@std/assert";
import { StreamDecoder } from "../../src/text/stream_decoder.ts";
import { Tokenizer } from "../../src/text/tokenizer.ts";
import { byteLevelTokenizer, chatTokenizer } from "./byte_level_tokenizer.ts";

Deno.test("StreamDecoder never splits a character", () => {
  const tokenizer = byteLevelTokenizer();
  const stream = new StreamDecoder(tokenizer);
  const pieces = tokenizer.encode("a🙂b").map((id) => stream.push(id));
  assertEquals(pieces, ["a", "", "", "", "🙂", "b"]);
  assertEquals(stream.flush(), "");
});

Deno.test("StreamDecoder equals decode(), incomplete and special tokens included", () => {
  const tokenizer = chatTokenizer();
  const smile = tokenizer.encode("🙂");
  const image = tokenizer.imageTokenId;
  const streams = [
    [...smile.slice(0, 2), 2, ...smile.slice(2)],
    [smile[0], image, ...smile.slice(1)],
    [smile[3], smile[3], 2],
    [tokenizer.vocabSize + 5, ...smile.slice(0, 3)],
    [],
  ];
  for (const ids of streams) {
    for (const skipSpecialTokens of [false, true]) {
      const stream = new StreamDecoder(tokenizer, { skipSpecialTokens });
      const text = ids.map((id) => stream.push(id)).join("") + stream.flush();
      assertEquals(text, tokenizer.decode(ids, { skipSpecialTokens }));
    }
  }
});

Deno.test("StreamDecoder works with tokenizers that are not byte-level", () => {
  const vocab = { "▁a": 0, "b": 1, "▁c": 2 };
  const tokenizer = Tokenizer.fromJson({
    tokenizer: {
      added_tokens: [],
      decoder: { type: "Metaspace", replacement: "▁", prepend_scheme: "always" },
      model: { type: "BPE", vocab, merges: [] },
    },
  });
  const stream = new StreamDecoder(tokenizer);
  const pieces = [0, 1, 2].map((id) => stream.push(id));
  assertEquals(pieces.join("") + stream.flush(), tokenizer.decode([0, 1, 2]));
  assertEquals(pieces[0], "a");
});
