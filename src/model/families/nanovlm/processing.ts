/**
 * Tokenizer and image processor of a nanoVLM folder.
 *
 * @module
 */
import { resolveModelFolder } from "../../../hub/model_folder.ts";
import { ImageProcessor } from "../../../image/image_processor.ts";
import { embeddedTokenizerFiles } from "../../../text/embedded_tokenizer.ts";
import { usesGlobalTile } from "../../../text/image_string.ts";
import { Tokenizer } from "../../../text/tokenizer.ts";
import type { VLMConfig } from "../../../vlm_config.ts";
import type { Processing } from "../model_family.ts";

async function isFile(path: string): Promise<boolean> {
  return await Deno.stat(path).then((info) => info.isFile, () => false);
}

/**
 * Opens tokenizer and image processor.
 *
 * @param folder of the model
 * @param others further folders that may have a tokenizer, tried first
 */
export async function openProcessing(
  folder: string,
  config: VLMConfig,
  others: readonly string[],
): Promise<Processing> {
  const { tokenizer, problem } = await findTokenizer([...new Set([...others, folder])], config);
  return {
    tokenizer,
    tokenizerProblem: problem,
    imageProcessor: fittingProcessor(await ImageProcessor.fromPretrained(folder), tokenizer),
    imageTokenId: tokenizer?.roleId("image_token") ?? config.lm_base_vocab_size,
  };
}

/**
 * The tokenizer of a model: tokenizer.json in its folder, else `lm_tokenizer` as a folder inside
 * it, beside it, as a path, or as a Hub id; with the model's extra tokens and chat template.
 */
async function findTokenizer(
  folders: readonly string[],
  config: VLMConfig,
): Promise<{ tokenizer: Tokenizer | null; problem: string }> {
  const named = config.lm_tokenizer;
  const local = [
    ...folders,
    ...(named.startsWith("/")
      ? [named]
      : folders.flatMap((folder) => [`${folder}/${named}`, `${folder}/../${named}`])),
    named,
  ];
  const prepare = async (folder: string) => ({
    tokenizer: (await Tokenizer.fromFolder(folder))
      .withExtraTokens(config.vlm_extra_tokens, config.lm_chat_template),
    problem: "",
  });
  for (const folder of local) {
    if (await isFile(`${folder}/tokenizer.json`)) return await prepare(folder);
  }
  if (named === "builtin:shapes") {
    const tokenizer = Tokenizer.fromJson(embeddedTokenizerFiles());
    return {
      tokenizer: tokenizer.withExtraTokens(config.vlm_extra_tokens, config.lm_chat_template),
      problem: "",
    };
  }
  const missing = `${folders[0]} has no tokenizer.json, and lm_tokenizer ${JSON.stringify(named)} `;
  if (!/^[\w-][\w.-]*\/[\w-][\w.-]*$/.test(named)) {
    return { tokenizer: null, problem: `${missing}is not a folder in it or beside it` };
  }
  try {
    return await prepare(await resolveModelFolder(named, { weights: false }));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { tokenizer: null, problem: `${missing}cannot be loaded: ${reason}` };
  }
}

/**
 * Tokenizer and image processor from the texts of the files that they save.
 *
 * @param texts by the names of the files
 * @param source where they come from, for messages
 * @throws {Error} if a file is missing or does not have the expected form
 */
export function processingOf(
  config: VLMConfig,
  texts: ReadonlyMap<string, string>,
  source: string,
): Processing {
  const tokenizer = Tokenizer.fromTexts(texts, source)
    .withExtraTokens(config.vlm_extra_tokens, config.lm_chat_template);
  return {
    tokenizer,
    tokenizerProblem: "",
    imageProcessor: fittingProcessor(ImageProcessor.fromTexts(texts, config, source), tokenizer),
    imageTokenId: tokenizer.roleId("image_token") ?? config.lm_base_vocab_size,
  };
}

/** The image processor, with a global tile only if the tokenizer has its token. */
function fittingProcessor(processor: ImageProcessor, tokenizer: Tokenizer | null): ImageProcessor {
  if (tokenizer === null || usesGlobalTile(tokenizer) || !processor.options.globalTile) {
    return processor;
  }
  const { normalize, ...options } = processor.options;
  return new ImageProcessor({
    ...options,
    globalTile: false,
    ...(normalize === null ? {} : { normalize }),
  });
}
