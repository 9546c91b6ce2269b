import { assertEquals } from "@std/assert";
import { initBackend } from "../../../src/device/backend.ts";
import { VisionLanguageModel } from "../../../src/generate/vision_language_model.ts";
import { nameOwnTokenizer } from "../../../src/model/files/own_tokenizer.ts";
import { embeddedTokenizerFiles } from "../../../src/text/embedded_tokenizer.ts";
import { Tokenizer } from "../../../src/text/tokenizer.ts";
import { tinyConfig } from "../tiny_config.ts";

async function lmTokenizer(folder: string): Promise<unknown> {
  return JSON.parse(await Deno.readTextFile(`${folder}/config.json`)).lm_tokenizer;
}

Deno.test("a saved model names a tokenizer that Python can load: its own folder", async () => {
  await initBackend({ backend: "cpu" });
  const root = await Deno.makeTempDir();
  try {
    for (const named of ["builtin:shapes", "/another/machine/tokenizer"]) {
      const config = { ...tinyConfig, lm_tokenizer: named, lm_vocab_size: 600 };
      const model = VisionLanguageModel.fromConfig({ ...config, lm_base_vocab_size: 512 });
      model.tokenizer = Tokenizer.fromJson(embeddedTokenizerFiles())
        .withExtraTokens(config.vlm_extra_tokens, config.lm_chat_template);
      const folder = `${root}/model`;
      await model.savePretrained(folder);
      assertEquals(await lmTokenizer(folder), folder);
      const loaded = await VisionLanguageModel.fromPretrained(folder);
      assertEquals(loaded.tokenizer?.imageTokenId, 512);
      model.dispose();
      loaded.dispose();
    }
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});

Deno.test("nameOwnTokenizer() leaves Hub ids, relative names and folders without a tokenizer", async () => {
  const folder = await Deno.makeTempDir();
  try {
    for (const named of ["owner/name", "tokenizer", "builtin:shapes"]) {
      await Deno.writeTextFile(`${folder}/config.json`, JSON.stringify({ lm_tokenizer: named }));
      if (named !== "builtin:shapes") await Deno.writeTextFile(`${folder}/tokenizer.json`, "{}");
      else await Deno.remove(`${folder}/tokenizer.json`);
      await nameOwnTokenizer(folder);
      assertEquals(await lmTokenizer(folder), named);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
