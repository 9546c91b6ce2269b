import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  CompletionText,
  forbiddenTokenIds,
  generateText,
} from "../../src/generate/generate_text.ts";
import { DEFAULT_CHAT_TEMPLATE, defaultExtraTokens } from "../../src/vlm_config.ts";
import { ImageProcessor } from "../../src/image/image_processor.ts";
import { VisionLanguageModel } from "../../src/generate/vision_language_model.ts";
import { embeddedTokenizerFiles } from "../../src/text/embedded_tokenizer.ts";
import { Tokenizer } from "../../src/text/tokenizer.ts";
import { onEachBackend } from "./gpu_test_case.ts";
import { tinyConfig } from "./tiny_model.ts";

const tokenizer = Tokenizer.fromJson(embeddedTokenizerFiles())
  .withExtraTokens(defaultExtraTokens(), DEFAULT_CHAT_TEMPLATE);
const config = {
  ...tinyConfig,
  lm_base_vocab_size: tokenizer.imageTokenId,
  lm_vocab_size: tokenizer.vocabSize + 3,
  max_img_size: 32,
};
const pixels = {
  width: 20,
  height: 30,
  data: Uint8Array.from({ length: 1800 }, (_, i) => i * 7 % 256),
};

/** Everything that came out piece by piece, and whether the end came by itself. */
function stream(text: string, stop: string[]): { pieces: string; whole: string; stopped: boolean } {
  const completion = new CompletionText(tokenizer, stop);
  let pieces = "";
  for (const id of tokenizer.encode(text)) {
    pieces += completion.push(id);
    assert(completion.stopped || completion.text.startsWith(pieces));
    if (completion.stopped) break;
  }
  pieces += completion.finish();
  return { pieces, whole: completion.text, stopped: completion.stopped };
}

Deno.test("CompletionText ends before a stop string and never shows the beginning of one", () => {
  const story = "The red circle. The blue square.";
  assertEquals(stream(story, []), { pieces: story, whole: story, stopped: false });
  assertEquals(stream(story, [" The bl"]), {
    pieces: "The red circle.",
    whole: "The red circle.",
    stopped: true,
  });
  // What looked like the beginning of a stop string comes out when it turns out to be none.
  assertEquals(stream(story, ["square. And"]), { pieces: story, whole: story, stopped: false });
  assertEquals(stream(story, ["", "blue", "red"]).pieces, "The ");
});

Deno.test("forbiddenTokenIds() has image, tile and unknown ids, and no other special ones", () => {
  const forbidden = new Set(forbiddenTokenIds(tokenizer, config.lm_vocab_size));
  assertEquals(forbidden.size, 66 + 3);
  assert(forbidden.has(tokenizer.imageTokenId));
  assert(forbidden.has(tokenizer.vocabSize));
  assert(!forbidden.has(tokenizer.eosTokenId));
});

onEachBackend("streamed pieces make up the text, and stop strings end it", async () => {
  const model = VisionLanguageModel.fromConfig(config, { seed: 3 });
  const prompts = [{ messages: [{ role: "user", content: "What is it?" }] }];
  const options = { maxNewTokens: 24, temperature: 1.5, numReturnSequences: 3, seed: 1 };
  const pieces = ["", "", ""];
  const free = await generateText(model, tokenizer, prompts, {
    ...options,
    onText: (sequence, piece) => pieces[sequence] += piece,
  });
  assertEquals(free.map(({ text }) => text), pieces);
  const [{ text }] = free;
  const stop = [...text].slice(4, 6).join("");
  const [stopped] = await generateText(model, tokenizer, prompts, { ...options, stop: [stop] });
  assertEquals(stopped.finishReason, "stop");
  assertEquals(stopped.text, text.slice(0, text.indexOf(stop)));
  assertEquals(stopped.tokens, free[0].tokens.slice(0, stopped.tokens.length));
  model.dispose();
}, ["wasm", "webgpu"]);

onEachBackend("model.generate() answers questions about files, pixels and ids alike", async () => {
  const model = VisionLanguageModel.fromConfig(config, { seed: 3 });
  const options = { maxNewTokens: 8, greedy: true };
  await assertRejects(() => model.generate({ prompt: "hi" }), Error, "has no tokenizer");
  const ids = tokenizer.encode("What is it?");
  const [bare] = await model.generate({ inputIds: [ids] }, { ...options, stopTokenIds: [] });
  assertEquals([bare.tokens.length, bare.text], [8, ""]);
  model.tokenizer = tokenizer;
  model.imageProcessor = ImageProcessor.fromConfig(config);
  const [fromPixels] = await model.generate({ prompt: "What is it?", images: [pixels] }, options);
  const processed = await model.imageProcessor.process(pixels);
  const [fromTiles, again] = await model.generate([
    { prompt: [{ role: "user", content: "What is it?" }], images: [processed] },
    { prompt: "What is it?", images: [processed] },
  ], options);
  assertEquals(fromTiles.tokens, fromPixels.tokens);
  assertEquals(again.text, fromPixels.text);
  assert(fromPixels.text.length > 0);
  model.dispose();
}, ["wasm"]);
