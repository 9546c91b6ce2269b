/**
 * Text to token ids and back, and chat templates.
 *
 * @module
 */
import { Tokenizer as HuggingFaceTokenizer } from "@huggingface/tokenizers";
import { Template } from "@huggingface/jinja";
import { AddedTokenFinder } from "./pipeline/added_tokens.ts";
import { decoderOf, wordEncoder } from "./pipeline/token_model.ts";
import { createNormalizer, type Normalizer } from "./pipeline/normalizer.ts";
import { createPreTokenizer, type PreTokenizer } from "./pipeline/pre_tokenizer.ts";
import { makeFolder } from "../json_file.ts";
import { explainWriteError } from "../atomic_write.ts";
import type { ChatMessage } from "./chat_message.ts";
import { NANOVLM_PROMPTS, type PromptFormat } from "./prompt_format.ts";
import {
  addExtraTokens,
  extraTokensByRole,
  resolveAddedTokens,
  specialTokensByRole,
} from "./special_tokens.ts";
import {
  chatTemplateOf,
  checkTokenizerJson,
  parseTokenizerFiles,
  readTokenizerFiles,
  writeTokenizerFiles,
} from "./tokenizer_files.ts";
import type { TokenizerConfigJson, TokenizerFiles } from "./tokenizer_json.ts";

export type { ChatMessage };

/** What a model family adds to a tokenizer's own files. */
export interface TokenizerFamily {
  /** Special tokens by role, over those that the files name. */
  readonly roles: Readonly<Record<string, string>>;
  readonly promptFormat: PromptFormat;
  /** Files by name that `save` writes as they are, in place of its own. */
  readonly savedFiles: ReadonlyMap<string, string>;
}

/** Most pieces of text between special tokens whose ids are cached. */
const PIECE_CACHE_SIZE = 20_000;
/** Longer pieces are not cached. */
const PIECE_CACHE_LENGTH = 256;

/**
 * A tokenizer of the Hugging Face `tokenizers` format with a chat template, as nanoVLM uses it.
 * It adds no special tokens: it encodes exactly what the text contains.
 *
 * @example Encode and decode
 * ```ts ignore
 * const tokenizer = await Tokenizer.fromFolder("checkpoints/my-model");
 * const ids = tokenizer.encode("What is this?");
 * tokenizer.decode(ids); // "What is this?"
 * ```
 */
export class Tokenizer {
  readonly #files: TokenizerFiles;
  readonly #encoder: HuggingFaceTokenizer;
  readonly #roles: Map<string, string>;
  readonly #addedIds: Map<string, number>;
  readonly #specialIds: Set<number>;
  /** Tokens found in the text as written, and those found after it is normalized. */
  readonly #rawFinder: AddedTokenFinder;
  readonly #normalizedFinder: AddedTokenFinder;
  readonly #normalize: Normalizer;
  readonly #preTokenize: PreTokenizer;
  readonly #encodeWords: (words: string[]) => string[];
  readonly #pieceCache = new Map<string, readonly number[]>();
  readonly #family: TokenizerFamily | null;
  #template: Template | null = null;
  #vocabSize = 0;
  #answerPrefix: string | null = null;

  private constructor(files: TokenizerFiles, family: TokenizerFamily | null = null) {
    this.#files = files;
    this.#family = family;
    // The library encodes words and decodes ids; what comes before the model is ours.
    this.#encoder = new HuggingFaceTokenizer(
      {
        ...files.tokenizer,
        normalizer: null,
        pre_tokenizer: null,
        post_processor: null,
        decoder: decoderOf(files.tokenizer),
      },
      { clean_up_tokenization_spaces: files.config.clean_up_tokenization_spaces ?? false },
    );
    this.#roles = new Map([
      ...specialTokensByRole(files),
      ...Object.entries(family?.roles ?? {}),
    ]);
    this.#addedIds = new Map(files.tokenizer.added_tokens.map((t) => [t.content, t.id]));
    this.#specialIds = new Set(
      files.tokenizer.added_tokens.filter((t) => t.special).map((t) => t.id),
    );
    this.#encodeWords = wordEncoder(files.tokenizer, this.#encoder);
    this.#normalize = createNormalizer(files.tokenizer.normalizer);
    this.#preTokenize = createPreTokenizer(files.tokenizer.pre_tokenizer);
    const tokens = files.tokenizer.added_tokens;
    const byText = (isNormalized: boolean) =>
      tokens.filter((t) => (t.normalized ?? !t.special) === isNormalized);
    this.#rawFinder = new AddedTokenFinder(new Map(byText(false).map((t) => [t.content, t])));
    this.#normalizedFinder = new AddedTokenFinder(
      new Map(byText(true).map((t) => [this.#normalize(t.content), t])),
    );
  }

  /**
   * Loads a folder with tokenizer.json and, if present, tokenizer_config.json,
   * special_tokens_map.json and chat_template.jinja.
   *
   * @throws {Error} if tokenizer.json is missing or a file does not have the expected form
   */
  static async fromFolder(dir: string): Promise<Tokenizer> {
    return new Tokenizer(resolveAddedTokens(await readTokenizerFiles(dir)));
  }

  /**
   * Like {@linkcode Tokenizer.fromFolder}, from the texts of the files.
   *
   * @param texts by the names of the files
   * @param source where they come from, for messages
   * @throws {Error} if tokenizer.json is missing or a file does not have the expected form
   */
  static fromTexts(texts: ReadonlyMap<string, string>, source: string): Tokenizer {
    return new Tokenizer(resolveAddedTokens(parseTokenizerFiles(texts, source)));
  }

  /**
   * Creates a tokenizer from parsed files, e.g. embedded ones.
   *
   * @param files tokenizer.json and tokenizer_config.json
   * @throws {Error} if `files.tokenizer` is not a tokenizer.json
   */
  static fromJson(files: { tokenizer: unknown; config?: TokenizerConfigJson }): Tokenizer {
    return new Tokenizer(resolveAddedTokens({
      tokenizer: checkTokenizerJson(files.tokenizer, "tokenizer.json"),
      config: files.config ?? {},
    }));
  }

  /**
   * nanoVLM's `get_tokenizer`: adds the extra special tokens, in order, after the existing ones;
   * sets the padding token to the end token; and sets the chat template.
   *
   * @param extraTokens `vlm_extra_tokens` of the model's config
   * @param chatTemplate `lm_chat_template`; if omitted, the template stays
   * @returns a new tokenizer; this one is unchanged
   */
  withExtraTokens(extraTokens: Record<string, string>, chatTemplate?: string): Tokenizer {
    return new Tokenizer(addExtraTokens(this.#files, extraTokens, chatTemplate ?? null));
  }

  /** The same tokenizer with a model family's tokens and way to write conversations. */
  withFamily(family: TokenizerFamily): Tokenizer {
    return new Tokenizer(this.#files, family);
  }

  /** How conversations with pictures are written; nanoVLM's way by default. */
  get promptFormat(): PromptFormat {
    return this.#family?.promptFormat ?? NANOVLM_PROMPTS;
  }

  /** The parsed files, e.g. to embed them elsewhere. Do not modify them. */
  get files(): TokenizerFiles {
    return this.#files;
  }

  /** One more than the largest id. The model's vocabulary may be larger. */
  get vocabSize(): number {
    if (this.#vocabSize === 0) {
      for (const id of this.#encoder.get_vocab().values()) {
        this.#vocabSize = Math.max(this.#vocabSize, id + 1);
      }
    }
    return this.#vocabSize;
  }

  /** Id of the token that ends an answer. @throws {Error} if the tokenizer names none */
  get eosTokenId(): number {
    return this.#requiredId("eos_token");
  }

  /** Id for padding: the end token's id if the tokenizer names none. */
  get padTokenId(): number {
    return this.roleId("pad_token") ?? this.eosTokenId;
  }

  /** Id of the first token of a message, or null if the tokenizer names none. */
  get bosTokenId(): number | null {
    return this.roleId("bos_token");
  }

  /** Id of the token whose embedding is replaced by a projected image patch. @throws {Error} if there is none */
  get imageTokenId(): number {
    return this.#requiredId("image_token");
  }

  /** Text of a special token by its role (`image_token`, `r1c1`, …), or null. */
  roleToken(role: string): string | null {
    return this.#roles.get(role) ?? null;
  }

  /** Id of a special token by its role, or null. */
  roleId(role: string): number | null {
    const token = this.#roles.get(role);
    return token === undefined ? null : this.tokenToId(token);
  }

  /** The tokens of pictures by role: image, global-image and row/column tokens. */
  get extraTokens(): Record<string, string> {
    return this.#family ? { ...this.#family.roles } : extraTokensByRole(this.#roles);
  }

  /** Id of a token by its text in the vocabulary, or null. */
  tokenToId(token: string): number | null {
    return this.#encoder.token_to_id(token) ?? null;
  }

  /** The vocabulary's text of an id (`Ġthe`, not ` the`), or null. */
  idToToken(id: number): string | null {
    return this.#encoder.id_to_token(id) ?? null;
  }

  /** True for ids that `skipSpecialTokens` omits. */
  isSpecial(id: number): boolean {
    return this.#specialIds.has(id);
  }

  /** True for ids of tokens that were added to the model's vocabulary. */
  isAdded(id: number): boolean {
    const token = this.idToToken(id);
    return token !== null && this.#addedIds.get(token) === id;
  }

  /**
   * Token ids of a text. Special tokens written in the text become their ids; none are added.
   *
   * @returns a new array, [T]
   */
  encode(text: string): number[] {
    if (text.length === 0) return [];
    const ids: number[] = [];
    for (const section of this.#rawFinder.split(text, true)) {
      if ("id" in section) {
        ids.push(section.id);
        continue;
      }
      for (const id of this.#encodePiece(section.text, section.isStart)) ids.push(id);
    }
    return ids;
  }

  /** Ids of text without tokens that are found as written, cached. */
  #encodePiece(text: string, isStart: boolean): readonly number[] {
    const key = (isStart ? "^" : " ") + text;
    const known = this.#pieceCache.get(key);
    if (known !== undefined) return known;
    const ids: number[] = [];
    for (const section of this.#normalizedFinder.split(this.#normalize(text), isStart)) {
      if ("id" in section) {
        ids.push(section.id);
        continue;
      }
      const words = this.#preTokenize(section.text, section.isStart);
      for (const token of this.#encodeWords(words)) {
        const id = this.#encoder.token_to_id(token);
        if (id !== undefined) ids.push(id);
      }
    }
    if (text.length <= PIECE_CACHE_LENGTH) {
      if (this.#pieceCache.size >= PIECE_CACHE_SIZE) this.#pieceCache.clear();
      this.#pieceCache.set(key, ids);
    }
    return ids;
  }

  /**
   * The text of token ids. Ids that the tokenizer does not have (a model's vocabulary may be larger) are
   * skipped; bytes that are not valid UTF-8 become U+FFFD, one for each maximal invalid part.
   *
   * @param ids [T]
   * @param options `skipSpecialTokens`: omit special tokens (default: false)
   */
  decode(ids: ArrayLike<number>, options: { skipSpecialTokens?: boolean } = {}): string {
    const skip = options.skipSpecialTokens ?? false;
    const kept: number[] = [];
    for (let i = 0; i < ids.length; i++) {
      const id = Number(ids[i]);
      if (skip && this.#specialIds.has(id)) continue;
      if (this.#encoder.id_to_token(id) !== undefined) kept.push(id);
    }
    if (kept.length === 0) return ""; // the library throws on an empty list
    return this.#encoder.decode(kept, { skip_special_tokens: false });
  }

  /** The Jinja chat template, or null. */
  get chatTemplate(): string | null {
    return chatTemplateOf(this.#files.config);
  }

  /**
   * A conversation as one text, by the chat template.
   *
   * @param messages in order
   * @param options `addGenerationPrompt`: end with the header of an answer to come
   * @throws {Error} if the tokenizer has no chat template, or the template refuses the messages
   */
  applyChatTemplate(
    messages: readonly ChatMessage[],
    options: { addGenerationPrompt?: boolean } = {},
  ): string {
    return this.promptFormat.render(this, messages, [], options.addGenerationPrompt ?? false);
  }

  /**
   * What the chat template writes between the header of an answer and its text: nothing, or a
   * space, which a generated answer then begins with.
   */
  get answerPrefix(): string {
    this.#answerPrefix ??= this.chatTemplate === null ? "" : this.#findAnswerPrefix();
    return this.#answerPrefix;
  }

  #findAnswerPrefix(): string {
    const question = { role: "user", content: "q" }, answer = "xzyvd";
    const before = this.applyChatTemplate([question], { addGenerationPrompt: true });
    const after = this.applyChatTemplate([question, { role: "assistant", content: answer }]);
    const rest = after.startsWith(before) ? after.slice(before.length) : "";
    return rest.slice(0, Math.max(0, rest.indexOf(answer)));
  }

  /** The text of a generated answer, without special tokens and {@linkcode answerPrefix}. */
  decodeAnswer(ids: ArrayLike<number>): string {
    const text = this.decode(ids, { skipSpecialTokens: true });
    return text.startsWith(this.answerPrefix) ? text.slice(this.answerPrefix.length) : text;
  }

  /**
   * Renders the chat template on messages whose contents have the template's own form.
   *
   * @throws {Error} if the tokenizer has no chat template, or the template refuses the messages
   */
  renderTemplate(messages: readonly unknown[], addGenerationPrompt: boolean): string {
    if (this.#template === null) {
      const source = this.chatTemplate;
      if (source === null) {
        throw new Error(
          "Cannot apply a chat template: the tokenizer has none; give one to withExtraTokens() " +
            "or put chat_template into tokenizer_config.json",
        );
      }
      this.#template = new Template(source);
    }
    return this.#template.render({
      messages,
      add_generation_prompt: addGenerationPrompt,
      ...Object.fromEntries(this.#roles),
    });
  }

  /**
   * Writes tokenizer.json, tokenizer_config.json and special_tokens_map.json, which transformers'
   * `AutoTokenizer` reads.
   *
   * @param dir created if it is missing
   * @throws {SaveError} if the disk is full, read-only or forbidden
   */
  async save(dir: string): Promise<void> {
    if (this.#family === null) return await writeTokenizerFiles(this.#files, dir);
    await makeFolder(dir);
    for (const [name, text] of this.#family.savedFiles) {
      const path = `${dir}/${name}`;
      try {
        await Deno.writeTextFile(path, text);
      } catch (error) {
        throw explainWriteError(error, path);
      }
    }
  }

  #requiredId(role: string): number {
    const id = this.roleId(role);
    if (id !== null) return id;
    const token = this.#roles.get(role);
    throw new Error(
      token === undefined
        ? `Cannot find the ${role}: the tokenizer names none; set it in tokenizer_config.json` +
          (role === "image_token" ? " or call withExtraTokens() with vlm_extra_tokens" : "")
        : `Cannot find the ${role}: ${JSON.stringify(token)} is not in the vocabulary`,
    );
  }
}
