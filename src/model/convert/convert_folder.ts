/**
 * Writes a nanoVLM folder from backbones: weights, config, tokenizer and image processor.
 *
 * @module
 */

import { ImageProcessor } from "../../image/image_processor.ts";
import { defaultVLMConfig, type VLMConfig } from "../../vlm_config.ts";
import { convertBackbones, type ConvertBackbonesOptions } from "./convert.ts";
import { elementCount } from "../../element_count.ts";
import { saveModelFolder, type SaveModelOptions } from "../files/weights.ts";
import { Tokenizer } from "../../text/tokenizer.ts";

/** Inputs of {@linkcode convert}. */
export interface ConvertOptions
  extends Omit<ConvertBackbonesOptions, "tokenizerSize">, Pick<SaveModelOptions, "dtype"> {
  /** Output folder. */
  outDir: string;
  /** A folder with tokenizer.json; that of the language backbone by default. */
  tokenizerDir?: string;
}

/** Result of {@linkcode convert}. */
export interface ConvertReport {
  /** The config that was written. */
  config: VLMConfig;
  /** Numbers in all trained tensors. */
  parameters: number;
  /** Whether the language folder had a tokenizer, which the new one then has too. */
  hasTokenizer: boolean;
}

/** The ids with which the backbone's answers end, by generation_config.json, else config.json. */
async function endTokenIds(folder: string): Promise<number[]> {
  for (const name of ["generation_config.json", "config.json"]) {
    let values: unknown;
    try {
      values = JSON.parse(await Deno.readTextFile(`${folder}/${name}`));
    } catch {
      continue; // There, it may be missing; config.json is read again, with its errors told.
    }
    if (typeof values !== "object" || values === null || !("eos_token_id" in values)) continue;
    const ids: unknown[] = [values.eos_token_id].flat();
    const whole = ids.filter((id) => typeof id === "number");
    if (whole.length > 0) return whole;
  }
  return [];
}

/**
 * The tokenizer of a language backbone with nanoVLM's extra tokens, or null if the folder has
 * none. If its end token differs from the one that the model was trained to end with (folders made
 * out of GGUF files name `<|im_start|>`), the model's is taken.
 *
 * @param languageDir the backbone, whose config says how answers end
 * @param tokenizerDir folder of tokenizer.json
 * @param onWarning called with a line if the end token differs
 */
export async function backboneTokenizer(
  languageDir: string,
  tokenizerDir: string = languageDir,
  wished: Partial<VLMConfig> = {},
  onWarning: (text: string) => void = console.warn,
): Promise<Tokenizer | null> {
  try {
    await Deno.stat(`${tokenizerDir}/tokenizer.json`);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
  let tokenizer = await Tokenizer.fromFolder(tokenizerDir);
  const named = tokenizer.roleId("eos_token");
  const ids = tokenizerDir === languageDir ? await endTokenIds(languageDir) : [];
  const end = ids.length > 0 ? tokenizer.idToToken(ids[0]) : null;
  if (end !== null && (named === null || !ids.includes(named))) {
    onWarning(
      `${tokenizerDir}: the tokenizer's end token is ${tokenizer.roleToken("eos_token")}, ` +
        `but the model ends with ${end}, which is taken`,
    );
    const { files } = tokenizer;
    tokenizer = Tokenizer.fromJson({
      tokenizer: files.tokenizer,
      config: { ...files.config, eos_token: end, eos_token_id: ids[0] },
    });
  }
  const defaults = defaultVLMConfig();
  return tokenizer.withExtraTokens(
    wished.vlm_extra_tokens ?? defaults.vlm_extra_tokens,
    wished.lm_chat_template ?? defaults.lm_chat_template,
  );
}

/**
 * Converts backbones into a nanoVLM folder, which is written as a whole or not at all.
 *
 * @throws {ConvertError} if a folder holds another architecture or the dims do not fit
 * @throws {SafetensorsError} if a weights file is missing or damaged
 * @throws {SaveError} if the disk is full, read-only or forbidden
 */
export async function convert(options: ConvertOptions): Promise<ConvertReport> {
  const warn = options.onWarning ?? ((text: string): void => console.warn(text));
  const tokenizerDir = options.tokenizerDir ?? options.languageDir;
  const tokenizer = await backboneTokenizer(
    options.languageDir,
    tokenizerDir,
    options.vlmConfig,
    warn,
  );
  if (tokenizer === null) {
    warn(
      `${tokenizerDir} has no tokenizer.json, so ${options.outDir} gets none: the model ` +
        `runs on ids, but neither trains on text nor answers before you copy one there`,
    );
  }
  using model = await convertBackbones({ ...options, tokenizerSize: tokenizer?.vocabSize });
  const { config, specs } = model;
  await saveModelFolder(
    options.outDir,
    config,
    specs.map(({ name, shape }) => ({ name, shape, data: () => model.read(name).data })),
    {
      dtype: options.dtype,
      writeOtherFiles: async (folder) => {
        await tokenizer?.save(folder);
        await ImageProcessor.fromConfig(config).save(folder);
      },
    },
  );
  return {
    config,
    parameters: specs.reduce((sum, { shape }) => sum + elementCount(shape), 0),
    hasTokenizer: tokenizer !== null,
  };
}
