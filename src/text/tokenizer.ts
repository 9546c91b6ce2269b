/**
 * Text to token ids and back, and chat templates.
 *
 * @module
 */
import { Tokenizer as HuggingFaceTokenizer } from "@huggingface/tokenizers";
import { Template } from "@huggingface/jinja";
import {
  addExtraTokens,
  chatTemplateOf,
  checkTokenizerJson,
  extraTokensByRole,
  readTokenizerFiles,
  specialTokensByRole,
  type TokenizerConfigJson,
  type TokenizerFiles,
  type TokenizerJson,
  writeTokenizerFiles,
} from "./tokenizer_files.ts";

/** One message of a conversation. */
export interface ChatMessage {
  role: string;
  content: string;
}

/** Most pieces of text between special tokens whose ids are cached. */
const PIECE_CACHE_SIZE = 20_000;
/** Longer pieces are not cached. */
const PIECE_CACHE_LENGTH = 256;

/** True if the text between two special tokens can be encoded independently of the rest. */
function piecesAreIndependent(tokenizer: TokenizerJson): boolean {
  if (tokenizer.normalizer !== null) return false;
  const shape = JSON.stringify(tokenizer.pre_tokenizer ?? null);
  if (shape.includes("Metaspace") || shape.includes('"add_prefix_space":true')) return false;
  return tokenizer.added_tokens.every(
    (t) => !t.lstrip && !t.rstrip && !t.single_word && !t.normalized,
  );
}

function escapeRegExp(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\\/-]/g, "\\$&");
}

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
  readonly #splitter: RegExp | null;
  readonly #pieceCache = new Map<string, readonly number[]>();
  #template: Template | null = null;
  #vocabSize = 0;

  private constructor(files: TokenizerFiles) {
    this.#files = files;
    this.#encoder = new HuggingFaceTokenizer(files.tokenizer, {
      ...files.config,
      clean_up_tokenization_spaces: files.config.clean_up_tokenization_spaces ?? false,
    });
    this.#roles = specialTokensByRole(files);
    this.#addedIds = new Map(files.tokenizer.added_tokens.map((t) => [t.content, t.id]));
    this.#specialIds = new Set(
      files.tokenizer.added_tokens.filter((t) => t.special).map((t) => t.id),
    );
    const longestFirst = [...this.#addedIds.keys()].filter((t) => t.length > 0)
      .sort((a, b) => b.length - a.length).map(escapeRegExp);
    this.#splitter = longestFirst.length > 0 && piecesAreIndependent(files.tokenizer)
      ? new RegExp(`(${longestFirst.join("|")})`)
      : null;
  }

  /**
   * Loads a folder with tokenizer.json and, if present, tokenizer_config.json,
   * special_tokens_map.json and chat_template.jinja.
   *
   * @throws {Error} if tokenizer.json is missing or a file does not have the expected form
   */
  static async fromFolder(dir: string): Promise<Tokenizer> {
    return new Tokenizer(await readTokenizerFiles(dir));
  }

  /**
   * Creates a tokenizer from parsed files, e.g. embedded ones.
   *
   * @param files tokenizer.json and tokenizer_config.json
   * @throws {Error} if `files.tokenizer` is not a tokenizer.json
   */
  static fromJson(files: { tokenizer: unknown; config?: TokenizerConfigJson }): Tokenizer {
    return new Tokenizer({
      tokenizer: checkTokenizerJson(files.tokenizer, "tokenizer.json"),
      config: files.config ?? {},
    });
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

  /** The extra tokens by role: nanoVLM's image, global-image and row/column tokens. */
  get extraTokens(): Record<string, string> {
    return extraTokensByRole(this.#roles);
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
    if (this.#splitter === null) return this.#encodePiece(text).slice();
    const ids: number[] = [];
    // Odd elements are the added tokens captured by the splitter's group.
    const pieces = text.split(this.#splitter);
    for (let i = 0; i < pieces.length; i++) {
      if (pieces[i].length === 0) continue;
      if (i % 2 === 1) {
        const id = this.#addedIds.get(pieces[i]);
        if (id !== undefined) ids.push(id);
        continue;
      }
      for (const id of this.#encodePiece(pieces[i])) ids.push(id);
    }
    return ids;
  }

  #encodePiece(text: string): readonly number[] {
    const known = this.#pieceCache.get(text);
    if (known !== undefined) return known;
    const ids = this.#encoder.encode(text, { add_special_tokens: false }).ids;
    if (text.length <= PIECE_CACHE_LENGTH) {
      if (this.#pieceCache.size >= PIECE_CACHE_SIZE) this.#pieceCache.clear();
      this.#pieceCache.set(text, ids);
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
      add_generation_prompt: options.addGenerationPrompt ?? false,
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
    await writeTokenizerFiles(this.#files, dir);
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
