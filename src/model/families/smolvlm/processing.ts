/**
 * Tokenizer and image processor of a SmolVLM folder, in the files of Transformers 4 and 5.
 *
 * @module
 */
import { Tokenizer } from "../../../text/tokenizer.ts";
import type { VLMConfig } from "../../../vlm_config.ts";
import { ModelConfigError } from "../check_config.ts";
import type { Processing } from "../model_family.ts";
import { SmolVLMImageProcessor } from "./image_processor.ts";
import { SMOLVLM_ROLES, smolVLMPrompts } from "./prompt_format.ts";

/** Files of the tokenizer and of generation, which a saved model has unchanged. */
export const TOKENIZER_FILES: readonly string[] = [
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "vocab.json",
  "merges.txt",
  "chat_template.jinja",
  "chat_template.json",
  "generation_config.json",
];

/** Files of the image processor, likewise. */
export const IMAGE_FILES: readonly string[] = [
  "preprocessor_config.json",
  "processor_config.json",
  "video_preprocessor_config.json",
];

/** Most rows and columns that SmolVLM's tokenizers have tokens for. */
const MOST_ROWS = 16;

async function readTexts(folder: string, names: readonly string[]): Promise<Map<string, string>> {
  const texts = new Map<string, string>();
  for (const name of names) {
    try {
      texts.set(name, await Deno.readTextFile(`${folder}/${name}`));
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return texts;
}

/** The value of a JSON file; empty if there is none. */
function parsed(texts: ReadonlyMap<string, string>, name: string): Record<string, unknown> {
  const text = texts.get(name);
  if (text === undefined) return {};
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ModelConfigError(`Cannot read ${name}: ${reason}`, { cause: error });
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return { ...value };
  throw new ModelConfigError(`Cannot read ${name}: want an object`);
}

function asObject(value: unknown): Record<string, unknown> | null {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : null;
}

/** The tokenizer with SmolVLM's roles and prompts; null if the folder has none. */
function parseTokenizer(
  texts: ReadonlyMap<string, string>,
  files: ReadonlyMap<string, string>,
  imageTokenId: number,
  folder: string,
): Tokenizer | null {
  const json = texts.get("tokenizer.json");
  if (json === undefined) return null;
  const config = {
    ...parsed(texts, "special_tokens_map.json"),
    ...parsed(texts, "tokenizer_config.json"),
  };
  const template = texts.get("chat_template.jinja") ??
    parsed(texts, "chat_template.json").chat_template ??
    parsed(files, "processor_config.json").chat_template;
  if (template !== undefined && template !== null) config.chat_template = template;
  const bare = Tokenizer.fromJson({ tokenizer: JSON.parse(json), config });
  const imageToken = bare.idToToken(imageTokenId);
  if (imageToken === null) {
    throw new ModelConfigError(
      `Cannot use ${folder}: image_token_id ${imageTokenId} of config.json is no token of ` +
        "tokenizer.json",
    );
  }
  const roles: Record<string, string> = {};
  for (const [role, token] of Object.entries(SMOLVLM_ROLES)) {
    const named = bare.roleToken(role) ?? token;
    if (bare.tokenToId(named) !== null) roles[role] = named;
  }
  roles.image_token = imageToken;
  for (let row = 1; row <= MOST_ROWS; row++) {
    for (let column = 1; column <= MOST_ROWS; column++) {
      const token = `<row_${row}_col_${column}>`;
      if (bare.tokenToId(token) !== null) roles[`r${row}c${column}`] = token;
    }
  }
  return bare.withFamily({
    roles,
    promptFormat: smolVLMPrompts(imageToken),
    savedFiles: texts,
  });
}

/** Opens tokenizer and image processor; the model's folder has both. */
export async function openProcessing(
  folder: string,
  config: VLMConfig,
  others: readonly string[],
): Promise<Processing> {
  const imageTokenId = imageTokenOf(config);
  const files = await readTexts(folder, IMAGE_FILES);
  let tokenizer: Tokenizer | null = null;
  for (const each of new Set([...others, folder])) {
    const texts = await readTexts(each, TOKENIZER_FILES);
    tokenizer ??= parseTokenizer(texts, files, imageTokenId, each);
  }
  return withImageProcessor(tokenizer, files, config, folder);
}

/** Tokenizer and image processor from the texts of their files. */
export function processingOf(
  config: VLMConfig,
  texts: ReadonlyMap<string, string>,
  source: string,
): Processing {
  const pick = (names: readonly string[]) =>
    new Map([...texts].filter(([name]) => names.includes(name)));
  const files = pick(IMAGE_FILES);
  const tokenizer = parseTokenizer(pick(TOKENIZER_FILES), files, imageTokenOf(config), source);
  return withImageProcessor(tokenizer, files, config, source);
}

function imageTokenOf(config: VLMConfig): number {
  return Number(config.family_config?.image_token_id ?? 128257);
}

/** @throws {ModelConfigError} if the files have no settings of an image processor */
function withImageProcessor(
  tokenizer: Tokenizer | null,
  files: ReadonlyMap<string, string>,
  config: VLMConfig,
  folder: string,
): Processing {
  const own = files.has("preprocessor_config.json")
    ? parsed(files, "preprocessor_config.json")
    : asObject(parsed(files, "processor_config.json").image_processor);
  if (own === null) {
    throw new ModelConfigError(
      `Cannot use ${folder}: it has no preprocessor_config.json and no processor_config.json with ` +
        "an image_processor; copy them from the model's repository",
    );
  }
  return {
    tokenizer,
    tokenizerProblem: tokenizer === null ? `${folder} has no tokenizer.json` : "",
    imageProcessor: SmolVLMImageProcessor.fromSettings(
      own,
      `${folder}/preprocessor_config.json`,
      config.vit_img_size,
      Object.fromEntries(files),
    ),
    imageTokenId: imageTokenOf(config),
  };
}
