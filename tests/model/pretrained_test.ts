import { assert, assertEquals, assertRejects } from "@std/assert";
import { initBackend } from "../../src/device/backend.ts";
import { readBack } from "../../src/device/read_back.ts";
import { ImageProcessor } from "../../src/image/image_processor.ts";
import {
  defaultLoraConfig,
  initializeAdapter,
  saveAdapterFolder,
} from "../../src/model/files/adapter_files.ts";
import { DEFAULT_CHAT_TEMPLATE, defaultExtraTokens } from "../../src/vlm_config.ts";
import { loadModel } from "../../src/generate/load_model.ts";
import { VisionLanguageModel } from "../../src/generate/vision_language_model.ts";
import { embeddedTokenizerFiles } from "../../src/text/embedded_tokenizer.ts";
import { Tokenizer } from "../../src/text/tokenizer.ts";
import { tinyConfig } from "../generate/tiny_model.ts";

const tokenizer = Tokenizer.fromJson(embeddedTokenizerFiles())
  .withExtraTokens(defaultExtraTokens(), DEFAULT_CHAT_TEMPLATE);
const config = {
  ...tinyConfig,
  lm_tokenizer: "tokenizer",
  lm_base_vocab_size: tokenizer.imageTokenId,
  lm_vocab_size: tokenizer.vocabSize,
  max_img_size: 32,
};
const inputs = { inputIds: [[5, 6, 7, 8]] };

async function logitsOf(model: VisionLanguageModel): Promise<Float32Array> {
  const { logits } = model.forward(inputs);
  const [values] = await readBack([logits!]);
  logits!.dispose();
  return values as Float32Array;
}

async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  await initBackend({ backend: "wasm" });
  const folder = await Deno.makeTempDir();
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("a saved model loads with the same weights, tokenizer and image processor", () =>
  inFolder(async (folder) => {
    const model = VisionLanguageModel.fromConfig(config, { seed: 4 });
    model.tokenizer = tokenizer;
    model.imageProcessor = ImageProcessor.fromConfig(config);
    await model.savePretrained(`${folder}/model`);
    const loaded = await loadModel(`${folder}/model`);
    assertEquals(await logitsOf(loaded.model), await logitsOf(model));
    assertEquals(loaded.model.imageTokenId, tokenizer.imageTokenId);
    assertEquals(loaded.tokenizer.encode("What is it?"), tokenizer.encode("What is it?"));
    assertEquals(loaded.imageProcessor.options, model.imageProcessor.options);
    model.dispose();
    loaded.model.dispose();
  }));

Deno.test("the same seed gives the same fresh model, another seed another one", async () => {
  await initBackend({ backend: "wasm" });
  const models = [1, 1, 2].map((seed) => VisionLanguageModel.fromConfig(config, { seed }));
  const [a, b, c] = await Promise.all(models.map(logitsOf));
  assertEquals(a, b);
  assert(a.some((value, i) => value !== c[i]));
  for (const model of models) model.dispose();
});

Deno.test("the tokenizer is found beside the folder; without one texts are refused, ids are not", () =>
  inFolder(async (folder) => {
    const model = VisionLanguageModel.fromConfig(config, { seed: 4 });
    await model.savePretrained(`${folder}/model`);
    await assertRejects(() => loadModel(`${folder}/model`), Error, "no tokenizer.json");
    const bare = await VisionLanguageModel.fromPretrained(`${folder}/model`);
    assertEquals(bare.tokenizer, null);
    assertEquals(await logitsOf(bare), await logitsOf(model));
    await tokenizer.save(`${folder}/tokenizer`);
    const loaded = await loadModel(`${folder}/model`);
    assertEquals(loaded.tokenizer.vocabSize, tokenizer.vocabSize);
    for (const each of [model, bare, loaded.model]) each.dispose();
  }));

Deno.test("an adapter goes on top of its model, given or named by its own config", () =>
  inFolder(async (folder) => {
    const model = VisionLanguageModel.fromConfig(config, { seed: 4 });
    model.tokenizer = tokenizer;
    await model.savePretrained(`${folder}/model`);
    const lora = {
      ...defaultLoraConfig(),
      r: 4,
      target_modules: ["q_proj", "v_proj"],
      init_lora_weights: false,
      base_model_name_or_path: `${folder}/model`,
    };
    const fresh = await initializeAdapter(config, lora, 3, () => new Float32Array(0));
    await saveAdapterFolder(`${folder}/adapter`, config, fresh);
    const base = await logitsOf(model);
    const on = await VisionLanguageModel.fromPretrained(`${folder}/model`, {
      adapter: `${folder}/adapter`,
    });
    const named = (await loadModel(`${folder}/adapter`)).model;
    const adapted = await logitsOf(on);
    assert(adapted.some((value, i) => Math.abs(value - base[i]) > 1e-4));
    assertEquals(await logitsOf(named), adapted);
    await assertRejects(() => on.savePretrained(`${folder}/other`), Error, "have adapters");
    for (const each of [model, on, named]) each.dispose();
  }));
