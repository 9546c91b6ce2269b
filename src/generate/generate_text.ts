/**
 * Generates text from prompts with pictures, with stop strings and streaming.
 *
 * @module
 */
import { answerEnds } from "../text/answer_end.ts";
import type { ImageTiles } from "../model/batch.ts";
import type { VLM } from "../model/vlm.ts";
import type { TileGrid } from "../text/image_string.ts";
import { ChatExampleBuilder } from "../text/chat_example.ts";
import { StreamDecoder } from "../text/stream_decoder.ts";
import type { ChatMessage, Tokenizer } from "../text/tokenizer.ts";
import { generateFromRows, type GenerateOptions, type Generation } from "./engine.ts";
import { promptRows } from "./prompt_rows.ts";

/** A picture as `ImageProcessor` returns it. */
export type PromptImage = ImageTiles & { readonly grid: TileGrid };

/** A conversation up to the answer. The same picture object is encoded once. */
export interface TextPrompt {
  readonly messages: readonly ChatMessage[];
  /** They come before the first user message. */
  readonly images?: readonly PromptImage[];
}

/** How to generate text. */
export interface TextOptions extends Omit<GenerateOptions, "stopTokenIds" | "onToken"> {
  /** Texts that end a completion; they are not part of its text. */
  readonly stop?: readonly string[];
  /** Ids that end a completion; the tokenizer's end token by default. */
  readonly stopTokenIds?: readonly number[];
  /**
   * Called with each piece of a completion's text as soon as it is final. A piece that may be
   * the beginning of a stop string is held back.
   */
  readonly onText?: (sequence: number, piece: string) => void;
}

/** One completion. */
export interface TextGeneration extends Generation {
  /** Without special tokens, up to a stop string. */
  text: string;
}

/**
 * Ids that an answer must not contain: image, global-image and row/column tokens, and rows of the
 * vocabulary that the tokenizer has no token for.
 *
 * @param vocabulary V, of the model
 */
export function forbiddenTokenIds(tokenizer: Tokenizer, vocabulary: number): number[] {
  const forbidden = new Set<number>();
  for (const token of Object.values(tokenizer.extraTokens)) {
    const id = tokenizer.tokenToId(token);
    if (id !== null) forbidden.add(id);
  }
  for (let id = 0; id < vocabulary; id++) {
    if (tokenizer.idToToken(id) === null) forbidden.add(id);
  }
  return [...forbidden];
}

/** The text of one completion as it grows. */
export class CompletionText {
  readonly #decoder: StreamDecoder;
  readonly #stop: readonly string[];
  #text = "";
  #sent = 0;
  #stopped = false;
  /** What may come before the answer's own text and is not part of it. */
  #prefix: string;

  /** @param stop texts that end it */
  constructor(tokenizer: Tokenizer, stop: readonly string[] = []) {
    this.#decoder = new StreamDecoder(tokenizer);
    this.#prefix = tokenizer.answerPrefix;
    this.#stop = stop.filter((text) => text !== "");
  }

  /** Whether a stop string was found. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /** The text so far, up to a stop string. */
  get text(): string {
    return this.#text;
  }

  /** Takes a token; returns the text that is now final. */
  push(token: number): string {
    return this.#add(this.#decoder.push(token), false);
  }

  /** Ends the text; returns what was still held back. */
  finish(): string {
    return this.#stopped ? "" : this.#add(this.#decoder.flush(), true);
  }

  #add(piece: string, last: boolean): string {
    const before = this.#text.length;
    this.#text += this.#withoutPrefix(piece);
    for (const stop of this.#stop) {
      const at = this.#text.indexOf(stop, Math.max(0, before - stop.length + 1));
      if (at < 0) continue;
      this.#text = this.#text.slice(0, at);
      this.#stopped = true;
    }
    const certain = this.#stopped || last ? this.#text.length : this.#text.length - this.#held();
    const sure = this.#text.slice(this.#sent, Math.max(certain, this.#sent));
    this.#sent += sure.length;
    return sure;
  }

  #withoutPrefix(piece: string): string {
    if (this.#prefix === "" || piece === "") return piece;
    const shared = Math.min(this.#prefix.length, piece.length);
    const same = piece.slice(0, shared) === this.#prefix.slice(0, shared);
    this.#prefix = same ? this.#prefix.slice(shared) : "";
    return same ? piece.slice(shared) : piece;
  }

  /** How many characters at the end may be the beginning of a stop string. */
  #held(): number {
    let held = 0;
    for (const stop of this.#stop) {
      for (let n = Math.min(stop.length - 1, this.#text.length); n > held; n--) {
        if (this.#text.endsWith(stop.slice(0, n))) held = n;
      }
    }
    return held;
  }
}

/**
 * Generates completions of conversations.
 *
 * @param model the model
 * @param tokenizer with the model's extra tokens and a chat template
 * @param prompts conversations with their pictures; neighbours with the same pictures share them
 * @param options how to choose and when to stop
 * @returns completions in the order of the prompts, `numReturnSequences` of each
 * @throws {ImageGridError} if a picture has too many tiles
 */
export async function generateText(
  model: VLM,
  tokenizer: Tokenizer,
  prompts: readonly TextPrompt[],
  options: TextOptions,
): Promise<TextGeneration[]> {
  const { mp_image_token_length, lm_vocab_size } = model.config;
  const builder = new ChatExampleBuilder(tokenizer, { mpImageTokenLength: mp_image_token_length });
  const { stop, onText, ...rest } = options;
  const stopTokenIds = options.stopTokenIds ?? answerEnds(tokenizer).stops;
  const count = prompts.length * (options.numReturnSequences ?? 1);
  const texts = Array.from({ length: count }, () => new CompletionText(tokenizer, stop));
  const tell = (sequence: number, piece: string) => {
    if (piece !== "") onText?.(sequence, piece);
  };
  const generations = await generateFromRows(
    model,
    promptRows(prompts.map(({ messages, images = [] }) => ({
      ids: builder.buildPrompt(messages, images.map(({ grid }) => grid)),
      images,
    }))),
    tokenizer.padTokenId,
    {
      forbiddenTokenIds: forbiddenTokenIds(tokenizer, lm_vocab_size),
      ...rest,
      stopTokenIds,
      onToken: (sequence, token) => {
        if (stopTokenIds.includes(token)) return false;
        tell(sequence, texts[sequence].push(token));
        return texts[sequence].stopped;
      },
    },
  );
  return generations.map((generation, sequence) => {
    tell(sequence, texts[sequence].finish());
    return { ...generation, text: texts[sequence].text };
  });
}
