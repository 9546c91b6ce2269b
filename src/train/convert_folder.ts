/**
 * A whole nanoVLM folder out of backbones: weights, config, tokenizer and image processor.
 *
 * @module
 */

import { ImageProcessor } from "../image/image_processor.ts";
import { defaultVLMConfig, type VLMConfig } from "../model/config.ts";
import { convertBackbones, type ConvertBackbonesOptions } from "../model/convert.ts";
import { elementCount } from "../model/safetensors.ts";
import { saveModelFolder, type SaveModelOptions } from "../model/weights.ts";
import { Tokenizer } from "../text/tokenizer.ts";

/** What {@linkcode convert} makes a folder of. */
export interface ConvertOptions
  extends Omit<ConvertBackbonesOptions, "tokenizerSize">, Pick<SaveModelOptions, "dtype"> {
  /** Where the nanoVLM folder goes. */
  outDir: string;
  /** A folder with tokenizer.json; that of the language backbone by default. */
  tokenizerDir?: string;
}

/** What {@linkcode convert} made. */
export interface ConvertReport {
  /** The config that was written. */
  config: VLMConfig;
  /** Numbers in all trained tensors. */
  parameters: number;
  /** Whether the language folder had a tokenizer, which the new one then has too. */
  hasTokenizer: boolean;
}

/**
 * The tokenizer of a language backbone with nanoVLM's extra tokens, or null where its folder has
 * none.
 */
export async function backboneTokenizer(
  folder: string,
  wished: Partial<VLMConfig> = {},
): Promise<Tokenizer | null> {
  try {
    await Deno.stat(`${folder}/tokenizer.json`);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
  const defaults = defaultVLMConfig();
  return (await Tokenizer.fromFolder(folder)).withExtraTokens(
    wished.vlm_extra_tokens ?? defaults.vlm_extra_tokens,
    wished.lm_chat_template ?? defaults.lm_chat_template,
  );
}

/**
 * Converts backbones into a nanoVLM folder, which appears whole or not at all.
 *
 * @throws {ConvertError} where a folder holds another architecture or the dims do not fit
 * @throws {SafetensorsError} where a weights file is missing or damaged
 * @throws {SaveError} where the disk is full, read-only or forbidden
 */
export async function convert(options: ConvertOptions): Promise<ConvertReport> {
  const warn = options.onWarning ?? ((text: string): void => console.warn(text));
  const tokenizerDir = options.tokenizerDir ?? options.languageDir;
  const tokenizer = await backboneTokenizer(tokenizerDir, options.vlmConfig);
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
