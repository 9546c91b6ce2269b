import { assert, assertEquals, assertRejects } from "@std/assert";
import { ImageProcessor } from "../../../src/image/image_processor.ts";
import { ConvertError } from "../../../src/model/convert/convert.ts";
import { loadWeights, readConfig } from "../../../src/model/files/weights.ts";
import { Tokenizer } from "../../../src/text/tokenizer.ts";
import { convert } from "../../../src/model/convert/convert_folder.ts";
import { fixtureTest } from "../../parity/shared_fixtures.ts";

const root = await Deno.makeTempDir();
globalThis.addEventListener("unload", () => Deno.removeSync(root, { recursive: true }));

fixtureTest("convert() writes a folder that has all a nanoVLM needs", async (fixtures) => {
  const outDir = `${root}/model`;
  const report = await convert({
    languageDir: `${fixtures}/backbones/llama`,
    visionDir: `${fixtures}/backbones/siglip`,
    tokenizerDir: `${fixtures}/tokenizer/base`,
    outDir,
    seed: 3,
    dtype: "BF16",
  });
  assert(report.hasTokenizer);
  const config = await readConfig(outDir, {
    onWarning: (text) => {
      throw new Error(text);
    },
  });
  // Python finds the tokenizer there.
  assertEquals(config, { ...report.config, lm_tokenizer: outDir });
  const tokenizer = await Tokenizer.fromFolder(outDir);
  // The base tokenizer has 512 ids, more than the backbone's 300 rows; the model gets them all.
  assertEquals([config.lm_vocab_size, tokenizer.vocabSize], [578, 578]);
  assertEquals(tokenizer.imageTokenId, 512);
  assertEquals(tokenizer.padTokenId, tokenizer.eosTokenId);
  const processor = await ImageProcessor.fromPretrained(outDir);
  assertEquals(processor.options.splitImageSize, 32);
  let parameters = 0;
  for await (const [, { data, dtype }] of loadWeights(outDir, config)) {
    parameters += data.length;
    assertEquals(dtype, "BF16");
  }
  assertEquals(parameters, report.parameters);
});

fixtureTest(
  "convert() without a tokenizer warns, and a refusal leaves nothing",
  async (fixtures) => {
    const warnings: string[] = [];
    const options = {
      languageDir: `${fixtures}/backbones/llama-sharded`,
      visionDir: `${fixtures}/backbones/siglip`,
      seed: 3,
      onWarning: (text: string) => warnings.push(text),
    };
    const { hasTokenizer, config } = await convert({ ...options, outDir: `${root}/plain` });
    assertEquals([hasTokenizer, config.lm_vocab_size], [false, 366]);
    assert(warnings.length === 1 && warnings[0].includes("no tokenizer.json"), String(warnings));
    await assertRejects(
      () =>
        convert({
          ...options,
          outDir: `${root}/refused`,
          vlmConfig: { mp_pixel_shuffle_factor: 3 },
        }),
      Error,
      "do not divide",
    );
    await assertRejects(
      () => convert({ ...options, languageDir: root, outDir: `${root}/refused` }),
      ConvertError,
      "there is no such file",
    );
    assertEquals([...Deno.readDirSync(root)].filter(({ name }) => name.includes("refused")), []);
  },
);

fixtureTest(
  "convert() takes the model's end token if the tokenizer names another",
  async (fixtures) => {
    const languageDir = `${root}/llama`;
    await Deno.mkdir(languageDir);
    for (const name of ["config.json", "generation_config.json", "model.safetensors"]) {
      await Deno.copyFile(`${fixtures}/backbones/llama/${name}`, `${languageDir}/${name}`);
    }
    for await (const { name } of Deno.readDir(`${fixtures}/tokenizer/base`)) {
      await Deno.copyFile(`${fixtures}/tokenizer/base/${name}`, `${languageDir}/${name}`);
    }
    const warnings: string[] = [];
    const make = async (eos: string): Promise<Tokenizer> => {
      const path = `${languageDir}/tokenizer_config.json`;
      const config = JSON.parse(await Deno.readTextFile(path));
      await Deno.remove(path);
      await Deno.writeTextFile(path, JSON.stringify({ ...config, eos_token: eos }));
      await Deno.remove(`${languageDir}/special_tokens_map.json`).catch(() => {});
      await convert({
        languageDir,
        visionDir: `${fixtures}/backbones/siglip`,
        outDir: `${root}/ended`,
        seed: 3,
        onWarning: (text) => warnings.push(text),
      });
      return await Tokenizer.fromFolder(`${root}/ended`);
    };
    const right = await make("<|im_end|>");
    assertEquals([right.eosTokenId, warnings.length], [2, 0]);
    const mended = await make("<|im_start|>");
    assertEquals([mended.eosTokenId, mended.padTokenId], [2, 2]);
    assert(warnings.length === 1 && warnings[0].includes("ends with <|im_end|>"), String(warnings));
  },
);
