/**
 * Added and special tokens of a tokenizer, as Transformers has them after `from_pretrained`.
 *
 * tokenizer.json is not the whole truth: Transformers also adds the tokens of tokenizer_config.json
 * (`added_tokens_decoder`) and makes every token that has a role a special one. Ids are not read
 * from the files: the Rust library takes the vocabulary's id of a token, else the next free one.
 * The results are those of Transformers 4.57 (`PreTrainedTokenizerFast.__init__`), which is what
 * nanoVLM runs on; 5.24 gives the same but for additional tokens whose flags differ.
 *
 * @module
 */
import { isJsonObject } from "./json_object.ts";
import type { AddedToken } from "./pipeline/added_tokens.ts";
import type { TokenizerConfigJson, TokenizerFiles, TokenizerJson } from "./tokenizer_json.ts";

/** Keys of tokenizer_config.json that name one special token, in Transformers' order. */
export const NAMED_TOKENS = [
  "bos_token",
  "eos_token",
  "unk_token",
  "sep_token",
  "pad_token",
  "cls_token",
  "mask_token",
] as const;

/** Tokens that a tokenizer class has if the config names none. */
const CLASS_DEFAULTS: Record<string, Record<string, string>> = {
  GPT2Tokenizer: {
    bos_token: "<|endoftext|>",
    eos_token: "<|endoftext|>",
    unk_token: "<|endoftext|>",
  },
  Qwen2Tokenizer: {
    eos_token: "<|endoftext|>",
    pad_token: "<|endoftext|>",
    unk_token: "<|endoftext|>",
  },
};

/** Text of a special token, given as a string or as an AddedToken object. */
export function tokenContent(value: unknown): string | null {
  if (typeof value === "string") return value;
  if (isJsonObject(value) && typeof value.content === "string") return value.content;
  return null;
}

/** Size of the model's own vocabulary, without added tokens. */
function modelVocabSize(tokenizer: TokenizerJson): number {
  const vocab = tokenizer.model.vocab;
  return Array.isArray(vocab) ? vocab.length : Object.keys(vocab).length;
}

/** Id of a token in the model's vocabulary, or null. */
function modelTokenId(tokenizer: TokenizerJson, token: string): number | null {
  const vocab = tokenizer.model.vocab;
  if (Array.isArray(vocab)) {
    const index = vocab.findLastIndex((entry) => entry[0] === token);
    return index < 0 ? null : index;
  }
  return Object.hasOwn(vocab, token) ? vocab[token] : null;
}

/** Added tokens in the making; ids as the Rust library gives them. */
class AddedTokenList {
  readonly #tokenizer: TokenizerJson;
  readonly #tokens = new Map<string, AddedToken>();
  #nextId: number;

  constructor(tokenizer: TokenizerJson) {
    this.#tokenizer = tokenizer;
    this.#nextId = modelVocabSize(tokenizer);
  }

  /** Adds a token, or gives the present one these flags. */
  add(token: Omit<AddedToken, "id">): void {
    if (token.content === "") return;
    const special = token.special ?? false;
    const id = this.#tokens.get(token.content)?.id ??
      modelTokenId(this.#tokenizer, token.content) ?? this.#nextId;
    this.#nextId = Math.max(this.#nextId, id + 1);
    this.#tokens.set(token.content, {
      id,
      content: token.content,
      single_word: token.single_word ?? false,
      lstrip: token.lstrip ?? false,
      rstrip: token.rstrip ?? false,
      normalized: token.normalized ?? !special,
      special,
    });
  }

  /** Adds a token with a role: it becomes special. A string keeps the flags of a present token. */
  addSpecial(value: unknown): void {
    const content = tokenContent(value);
    if (content === null) return;
    const flags = isJsonObject(value)
      ? value as unknown as AddedToken
      : this.#tokens.get(content) ?? { normalized: false };
    this.add({ ...flags, content, special: true });
  }

  get tokens(): AddedToken[] {
    return [...this.#tokens.values()].sort((a, b) => a.id - b.id);
  }
}

/** The class's default tokens, for roles that the config leaves open. */
function withClassDefaults(config: TokenizerConfigJson): TokenizerConfigJson {
  const name = String(config.tokenizer_class ?? "").replace(/Fast$/, "");
  const defaults = CLASS_DEFAULTS[name] ?? {};
  const missing = Object.entries(defaults).filter(([role]) => config[role] === undefined);
  return { ...config, ...Object.fromEntries(missing) };
}

/** `additional_special_tokens` and `extra_special_tokens`, each a list or an object by role. */
function furtherTokens(config: TokenizerConfigJson): unknown[] {
  return [config.additional_special_tokens, config.extra_special_tokens].flatMap((value) =>
    Array.isArray(value) ? value : isJsonObject(value) ? Object.values(value) : []
  );
}

/**
 * The files of a tokenizer with the added tokens that Transformers has after loading them.
 *
 * @param files as read; not modified
 * @returns new files, whose `added_tokens` are complete
 */
export function resolveAddedTokens(files: TokenizerFiles): TokenizerFiles {
  const list = new AddedTokenList(files.tokenizer);
  for (const token of files.tokenizer.added_tokens) list.add(token);
  const decoder = files.config.added_tokens_decoder;
  if (isJsonObject(decoder)) {
    const entries = Object.entries(decoder).sort((a, b) => Number(a[0]) - Number(b[0]));
    for (const [, token] of entries) {
      if (isJsonObject(token) && typeof token.content === "string") {
        list.add(token as unknown as AddedToken);
      }
    }
  }
  const config = withClassDefaults(files.config);
  for (const role of NAMED_TOKENS) list.addSpecial(config[role]);
  for (const token of furtherTokens(config)) list.addSpecial(token);
  return { ...files, tokenizer: { ...files.tokenizer, added_tokens: list.tokens }, config };
}

/**
 * What nanoVLM's `get_tokenizer` does to a tokenizer: its extra special tokens that do not exist
 * yet get the next free ids, in order; the padding token becomes the end token; and the chat
 * template is set.
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
  const list = new AddedTokenList(files.tokenizer);
  for (const token of files.tokenizer.added_tokens) list.add(token);
  for (const token of Object.values(extraTokens)) list.addSpecial(token);
  const config: TokenizerConfigJson = { ...files.config, ...extraTokens };
  const present = isJsonObject(config.extra_special_tokens) ? config.extra_special_tokens : {};
  config.extra_special_tokens = { ...present, ...extraTokens };
  const end = tokenContent(config.eos_token);
  if (end !== null) config.pad_token = end;
  if (chatTemplate !== null) config.chat_template = chatTemplate;
  return { ...files, tokenizer: { ...files.tokenizer, added_tokens: list.tokens }, config };
}

/**
 * Special tokens by role: Transformers' named ones and the extra ones, their texts. An extra one
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

/**
 * Those of `specialTokensByRole` that stand for pictures: the image, global-image and row/column
 * tokens. Other extra tokens, such as `think_token`, are text that users write and models generate.
 */
export function extraTokensByRole(roles: ReadonlyMap<string, string>): Record<string, string> {
  const isPicture = /^(?:global_)?image_token$|^r\d+c\d+$/;
  return Object.fromEntries([...roles].filter(([role]) => isPicture.test(role)));
}
