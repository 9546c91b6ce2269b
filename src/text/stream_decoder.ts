/**
 * Text of tokens that arrive one by one.
 *
 * @module
 */
import type { Tokenizer } from "./tokenizer.ts";
import { isJsonObject } from "./json_object.ts";

/** The byte of each character that byte-level BPE writes for it (GPT-2's `bytes_to_unicode`). */
function byteOfCharacter(): Map<string, number> {
  const bytes = new Map<string, number>();
  let stand = 256;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) ||
      byte >= 0xae;
    bytes.set(String.fromCodePoint(printable ? byte : stand++), byte);
  }
  return bytes;
}

const BYTE_OF_CHARACTER = byteOfCharacter();

/**
 * The bytes that a token stands for: those of byte-level BPE, or of its text.
 *
 * @param id of the vocabulary; others have no bytes
 */
export function byteLevelBytes(tokenizer: Tokenizer, id: number): Uint8Array {
  const token = tokenizer.idToToken(id);
  if (token === null) return new Uint8Array();
  const { decoder } = tokenizer.files.tokenizer;
  const isByteLevel = isJsonObject(decoder) && decoder.type === "ByteLevel";
  if (!isByteLevel || tokenizer.isAdded(id)) {
    return new TextEncoder().encode(tokenizer.decode([id], { skipSpecialTokens: false }));
  }
  return Uint8Array.from(token, (character) => BYTE_OF_CHARACTER.get(character) ?? 0x3f);
}

/**
 * Decodes a stream of ids. The concatenated results of `push` and `flush` equal
 * `Tokenizer.decode` of all ids, and no piece ends within a character.
 */
export class StreamDecoder {
  readonly #tokenizer: Tokenizer;
  readonly #skipSpecialTokens: boolean;
  readonly #byteLevel: boolean;
  #utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
  // For decoders other than byte-level ones: all ids, and the length of the text already returned.
  readonly #ids: number[] = [];
  #sent = 0;

  /**
   * @param tokenizer that made the ids
   * @param options `skipSpecialTokens`: omit special tokens (default: true)
   */
  constructor(tokenizer: Tokenizer, options: { skipSpecialTokens?: boolean } = {}) {
    this.#tokenizer = tokenizer;
    this.#skipSpecialTokens = options.skipSpecialTokens ?? true;
    const { decoder } = tokenizer.files.tokenizer;
    this.#byteLevel = isJsonObject(decoder) && decoder.type === "ByteLevel" &&
      tokenizer.files.config.clean_up_tokenization_spaces !== true;
  }

  /** Takes ids and returns the text that is complete now, which may be empty. */
  push(...ids: number[]): string {
    if (!this.#byteLevel) {
      this.#ids.push(...ids);
      const text = this.#tokenizer.decode(this.#ids, {
        skipSpecialTokens: this.#skipSpecialTokens,
      });
      if (text.endsWith("\ufffd")) return "";
      return this.#send(text);
    }
    let text = "";
    for (const id of ids) {
      const token = this.#tokenizer.idToToken(id);
      if (token === null) continue;
      if (this.#skipSpecialTokens && this.#tokenizer.isSpecial(id)) continue;
      if (this.#tokenizer.isAdded(id)) {
        text += this.flush() + token;
        continue;
      }
      const bytes = Array.from(token, (character) => BYTE_OF_CHARACTER.get(character) ?? 0x3f);
      text += this.#utf8.decode(new Uint8Array(bytes), { stream: true });
    }
    return text;
  }

  /** Ends the stream (or a part of it): incomplete characters become U+FFFD. */
  flush(): string {
    if (this.#byteLevel) {
      const rest = this.#utf8.decode();
      this.#utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
      return rest;
    }
    return this.#send(
      this.#tokenizer.decode(this.#ids, { skipSpecialTokens: this.#skipSpecialTokens }),
    );
  }

  #send(text: string): string {
    const piece = text.slice(this.#sent);
    this.#sent = Math.max(this.#sent, text.length);
    return piece;
  }
}
