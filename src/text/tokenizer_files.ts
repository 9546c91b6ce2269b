/**
 * The three JSON files of a Hugging Face tokenizer: reading, checking, adding nanoVLM's extra
 * tokens, and writing.
 *
 * @module
 */
import { makeFolder, writeJsonFile } from "../json_file.ts";

/** One entry of `added_tokens` in tokenizer.json. */
export interface AddedTokenEntry {
  id: number;
  content: string;
  single_word?: boolean;
  lstrip?: boolean;
  rstrip?: boolean;
  normalized?: boolean;
  special?: boolean;
}

/** tokenizer.json, as far as this library looks into it. */
export interface TokenizerJson {
  added_tokens: AddedTokenEntry[];
  model: { vocab: Record<string, number> | [string, number][]; [key: string]: unknown };
  [key: string]: unknown;
}

/** tokenizer_config.json or special_tokens_map.json: free-form, keys as transformers writes them. */
export type TokenizerConfigJson = Record<string, unknown>;

/** The files of one tokenizer, parsed. */
export interface TokenizerFiles {
  tokenizer: TokenizerJson;
  config: TokenizerConfigJson;
}

/** A parsed JSON value that is an object and not a list. */
export function isJsonObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

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

async function readJson(path: string): Promise<unknown> {
  const text = await Deno.readTextFile(path);
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

/**
 * Reads tokenizer.json and, if present, tokenizer_config.json, special_tokens_map.json and
 * chat_template.jinja of a folder.
 *
 * @throws {Error} if tokenizer.json is missing or a file does not have the expected form
 */
export async function readTokenizerFiles(dir: string): Promise<TokenizerFiles> {
  const path = `${dir}/tokenizer.json`;
  let parsed: unknown;
  try {
    parsed = await readJson(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new Error(
      `Cannot load a tokenizer from ${dir}: there is no tokenizer.json; ` +
        `save one with transformers' fast tokenizers (save_pretrained) or copy it from the Hub`,
    );
  }
  const tokenizer = checkTokenizerJson(parsed, path);
  const config: TokenizerConfigJson = {};
  for (const name of ["special_tokens_map.json", "tokenizer_config.json"]) {
    const text = await readOptionalText(`${dir}/${name}`);
    if (text === null) continue;
    const value = await readJson(`${dir}/${name}`);
    if (!isJsonObject(value)) {
      throw new Error(`Cannot read ${dir}/${name}: wanted a JSON object, got ${text.slice(0, 40)}`);
    }
    Object.assign(config, value);
  }
  // transformers since 4.51 may keep the template in a file of its own, which then wins.
  const template = await readOptionalText(`${dir}/chat_template.jinja`);
  if (template !== null) config.chat_template = template;
  return { tokenizer, config };
}

/** Text of a special token, given as a string or as an AddedToken object. */
export function tokenContent(value: unknown): string | null {
  if (typeof value === "string") return value;
  if (isJsonObject(value) && typeof value.content === "string") return value.content;
  return null;
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

/** Size of the model's own vocabulary, without added tokens. */
function modelVocabSize(tokenizer: TokenizerJson): number {
  const vocab = tokenizer.model.vocab;
  return Array.isArray(vocab) ? vocab.length : Object.keys(vocab).length;
}

/** Id of a token of the model's vocabulary. */
function modelTokenId(tokenizer: TokenizerJson, token: string): number | null {
  const vocab = tokenizer.model.vocab;
  if (Array.isArray(vocab)) {
    const index = vocab.findIndex((entry) => entry[0] === token);
    return index < 0 ? null : index;
  }
  return Object.hasOwn(vocab, token) ? vocab[token] : null;
}

/**
 * What nanoVLM's `get_tokenizer` does to a tokenizer: its extra special tokens that do not exist
 * yet get the next free ids, in order; the padding token becomes the end token; and the chat
 * template is set. (The rule for the next id is that of `AddedVocabulary` in the tokenizers
 * library.)
 *
 * @param files not modified
 * @param extraTokens special tokens by role, e.g. `image_token`
 * @param chatTemplate a Jinja template; null keeps the present one
 * @returns new files
 */
export function addExtraTokens(
  files: TokenizerFiles,
  extraTokens: Record<string, string>,
  chatTemplate: string | null,
): TokenizerFiles {
  const added = files.tokenizer.added_tokens.map((entry) => ({ ...entry }));
  const vocabSize = modelVocabSize(files.tokenizer);
  let nextId = added.reduce((next, entry) => Math.max(next, entry.id + 1), vocabSize);
  for (const content of Object.values(extraTokens)) {
    const present = added.find((entry) => entry.content === content);
    if (present !== undefined) {
      present.special = true;
      continue;
    }
    const id = modelTokenId(files.tokenizer, content) ?? nextId++;
    const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false };
    added.push({ id, content, ...flags, special: true });
  }
  const config: TokenizerConfigJson = { ...files.config, ...extraTokens };
  const present = isJsonObject(config.extra_special_tokens) ? config.extra_special_tokens : {};
  config.extra_special_tokens = { ...present, ...extraTokens };
  const end = tokenContent(config.eos_token);
  if (end !== null) config.pad_token = end;
  if (chatTemplate !== null) config.chat_template = chatTemplate;
  return { tokenizer: { ...files.tokenizer, added_tokens: added }, config };
}

/** Keys of tokenizer_config.json that name one special token, in transformers' order. */
const NAMED_TOKENS = [
  "bos_token",
  "eos_token",
  "unk_token",
  "sep_token",
  "pad_token",
  "cls_token",
  "mask_token",
] as const;

/**
 * Special tokens by role: transformers' named ones and the extra ones, their texts. An extra one
 * stands under `extra_special_tokens`, or at the top of the config or of special_tokens_map.json.
 *
 * @param files of one tokenizer, special_tokens_map.json merged into the config
 */
export function specialTokensByRole(files: TokenizerFiles): Map<string, string> {
  const { config } = files;
  const added = new Set(files.tokenizer.added_tokens.map((entry) => entry.content));
  const roles = new Map<string, string>();
  for (const name of NAMED_TOKENS) {
    const content = tokenContent(config[name]);
    if (content !== null) roles.set(name, content);
  }
  const extra = isJsonObject(config.extra_special_tokens) ? config.extra_special_tokens : {};
  for (const [role, value] of Object.entries({ ...config, ...extra })) {
    const content = tokenContent(value);
    if (content !== null && added.has(content)) roles.set(role, content);
  }
  return roles;
}

/** Those of `specialTokensByRole` that are not transformers' own: image and row/column tokens. */
export function extraTokensByRole(roles: ReadonlyMap<string, string>): Record<string, string> {
  const named: readonly string[] = NAMED_TOKENS;
  return Object.fromEntries([...roles].filter(([role]) => !named.includes(role)));
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
