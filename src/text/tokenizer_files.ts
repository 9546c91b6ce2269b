/**
 * The three JSON files of a Hugging Face tokenizer: reading, checking and writing.
 *
 * @module
 */
import { makeFolder, writeJsonFile } from "../json_file.ts";
import { isJsonObject } from "./json_object.ts";
import { NAMED_TOKENS, specialTokensByRole } from "./special_tokens.ts";
import type { TokenizerConfigJson, TokenizerFiles, TokenizerJson } from "./tokenizer_json.ts";

/**
 * Checks that a parsed tokenizer.json has the parts that encoding needs.
 *
 * @param value the result of `JSON.parse`
 * @param source its origin, for the error text
 * @throws {Error} if it is not a tokenizer of the `tokenizers` library
 */
export function checkTokenizerJson(value: unknown, source: string): TokenizerJson {
  const wanted = `wanted an object with "model.vocab" and "added_tokens", as the Hugging Face ` +
    `tokenizers library saves it`;
  if (!isJsonObject(value)) {
    throw new Error(`Cannot use ${source} as a tokenizer: got ${typeof value}, ${wanted}`);
  }
  const model = value.model;
  if (!isJsonObject(model) || typeof model.vocab !== "object" || model.vocab === null) {
    throw new Error(`Cannot use ${source} as a tokenizer: it has no "model.vocab"; ${wanted}`);
  }
  const added = value.added_tokens ?? [];
  if (!Array.isArray(added)) {
    throw new Error(`Cannot use ${source} as a tokenizer: "added_tokens" is no list; ${wanted}`);
  }
  for (const entry of added) {
    if (!isJsonObject(entry) || typeof entry.id !== "number" || typeof entry.content !== "string") {
      throw new Error(
        `Cannot use ${source} as a tokenizer: an added token is ${JSON.stringify(entry)}; ` +
          `wanted an object with a numeric "id" and a text "content"`,
      );
    }
  }
  // The library requires these keys, even if they are unused.
  const defaults = { normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null };
  return { ...defaults, ...value, added_tokens: added } as unknown as TokenizerJson;
}

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`Cannot read ${path}: it is not JSON (${reason})`);
  }
}

async function readOptionalText(path: string): Promise<string | null> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

/** The files that {@linkcode parseTokenizerFiles} reads; all but the first may be missing. */
const FILE_NAMES: readonly string[] = [
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "chat_template.jinja",
  "generation_config.json",
];

/**
 * Reads tokenizer.json and, if present, tokenizer_config.json, special_tokens_map.json and
 * chat_template.jinja of a folder.
 *
 * @throws {Error} if tokenizer.json is missing or a file does not have the expected form
 */
export async function readTokenizerFiles(dir: string): Promise<TokenizerFiles> {
  const texts = new Map<string, string>();
  for (const name of FILE_NAMES) {
    const text = await readOptionalText(`${dir}/${name}`);
    if (text !== null) texts.set(name, text);
  }
  return parseTokenizerFiles(texts, dir);
}

/**
 * Parses the texts of a tokenizer's files.
 *
 * @param texts by the names of the files
 * @param dir the folder that they come from, for messages
 * @throws {Error} if tokenizer.json is missing or a file does not have the expected form
 */
export function parseTokenizerFiles(
  texts: ReadonlyMap<string, string>,
  dir: string,
): TokenizerFiles {
  const path = `${dir}/tokenizer.json`;
  const json = texts.get("tokenizer.json");
  if (json === undefined) {
    throw new Error(
      `Cannot load a tokenizer from ${dir}: there is no tokenizer.json; ` +
        `save one with transformers' fast tokenizers (save_pretrained) or copy it from the Hub`,
    );
  }
  const tokenizer = checkTokenizerJson(parseJson(json, path), path);
  const readObject = (name: string): TokenizerConfigJson | null => {
    const text = texts.get(name);
    if (text === undefined) return null;
    const value = parseJson(text, `${dir}/${name}`);
    if (isJsonObject(value)) return value;
    throw new Error(`Cannot read ${dir}/${name}: wanted a JSON object, got ${text.slice(0, 40)}`);
  };
  const own = readObject("tokenizer_config.json") ?? {};
  const map = readObject("special_tokens_map.json") ?? {};
  // As in Transformers, the map's named tokens count only in files without `added_tokens_decoder`,
  // and then before those of tokenizer_config.json.
  const named = NAMED_TOKENS.filter((role) => map[role] !== undefined && map[role] !== null);
  const mapCounts = own.added_tokens_decoder === undefined;
  const config: TokenizerConfigJson = { ...map, ...own };
  for (const role of [...named, "additional_special_tokens"]) {
    if (map[role] === undefined) continue;
    if (mapCounts) config[role] = map[role];
    else if (own[role] === undefined) delete config[role];
  }
  // transformers since 4.51 may keep the template in a file of its own, which then wins.
  const template = texts.get("chat_template.jinja");
  if (template !== undefined) config.chat_template = template;
  const generation = readObject("generation_config.json");
  const generationEnds = [generation?.eos_token_id].flat()
    .filter((id): id is number => typeof id === "number" && Number.isInteger(id));
  return { tokenizer, config, generationEnds };
}

/** The template of `chat_template`: a string, or the one called "default" in a list. */
export function chatTemplateOf(config: TokenizerConfigJson): string | null {
  const value = config.chat_template;
  if (typeof value === "string") return value;
  if (!Array.isArray(value)) return null;
  for (const entry of value) {
    if (isJsonObject(entry) && entry.name === "default" && typeof entry.template === "string") {
      return entry.template;
    }
  }
  return null;
}

/**
 * Writes tokenizer.json, tokenizer_config.json and special_tokens_map.json so that
 * transformers' `AutoTokenizer` gives the same ids.
 *
 * @param dir created if it is missing
 * @throws {SaveError} if the disk is full, read-only or forbidden
 */
export async function writeTokenizerFiles(files: TokenizerFiles, dir: string): Promise<void> {
  const flag = (value: boolean | undefined) => value ?? false;
  const decoder: Record<string, unknown> = {};
  for (const entry of [...files.tokenizer.added_tokens].sort((a, b) => a.id - b.id)) {
    decoder[String(entry.id)] = {
      content: entry.content,
      lstrip: flag(entry.lstrip),
      normalized: flag(entry.normalized),
      rstrip: flag(entry.rstrip),
      single_word: flag(entry.single_word),
      special: flag(entry.special),
    };
  }
  const tokenizerClass = files.config.tokenizer_class ?? "PreTrainedTokenizerFast";
  const config = {
    ...files.config,
    added_tokens_decoder: decoder,
    tokenizer_class: tokenizerClass,
  };
  const roles = Object.fromEntries(specialTokensByRole(files));
  const write = (name: string, value: unknown) => writeJsonFile(`${dir}/${name}`, value);
  await makeFolder(dir);
  await write("tokenizer.json", files.tokenizer);
  await write("tokenizer_config.json", config);
  await write("special_tokens_map.json", roles);
}
