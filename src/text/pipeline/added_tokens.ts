/**
 * Finding added tokens in a text, as `AddedVocabulary` of the Rust library `tokenizers` does.
 *
 * @module
 */
import { RUST_WORD } from "./pre_tokenizer.ts";
import { escapeRegExp } from "./token_pattern.ts";

/** An added token with its flags. */
export interface AddedToken {
  id: number;
  content: string;
  single_word?: boolean;
  lstrip?: boolean;
  rstrip?: boolean;
  normalized?: boolean;
  special?: boolean;
}

/** A part of a text: an added token's id, or text between them. */
export type Section = { id: number } | { text: string; isStart: boolean };

const WORD_AT_END = new RegExp(`[${RUST_WORD}]$`, "u");
const WORD_AT_START = new RegExp(`^[${RUST_WORD}]`, "u");
const SPACE_AT_START = /^\p{White_Space}+/u;
const SPACE_AT_END = /\p{White_Space}+$/u;

/** Finds a set of tokens: the leftmost, of several the longest. */
export class AddedTokenFinder {
  readonly #pattern: RegExp | null;
  readonly #tokens: ReadonlyMap<string, AddedToken>;

  /** @param tokens by the text that stands for them */
  constructor(tokens: ReadonlyMap<string, AddedToken>) {
    this.#tokens = tokens;
    const longestFirst = [...tokens.keys()].filter((text) => text.length > 0)
      .sort((a, b) => b.length - a.length).map(escapeRegExp);
    this.#pattern = longestFirst.length === 0 ? null : new RegExp(longestFirst.join("|"), "g");
  }

  /** Splits a text at its tokens. */
  split(text: string, isStart: boolean): Section[] {
    if (text.length === 0) return [];
    if (this.#pattern === null) return [{ text, isStart }];
    const sections: Section[] = [];
    let end = 0;
    for (const match of text.matchAll(this.#pattern)) {
      const token = this.#tokens.get(match[0])!;
      let from = match.index, to = from + match[0].length;
      if (token.single_word && touchesWord(text, from, to)) continue;
      if (token.lstrip) {
        const space = SPACE_AT_END.exec(text.slice(end, from))?.[0].length ?? 0;
        from = Math.max(from - space, end);
      }
      if (token.rstrip) to += SPACE_AT_START.exec(text.slice(to))?.[0].length ?? 0;
      if (end < from) sections.push({ text: text.slice(end, from), isStart: isStart && end === 0 });
      sections.push({ id: token.id });
      end = to;
    }
    if (end < text.length) {
      sections.push({ text: text.slice(end), isStart: isStart && end === 0 });
    }
    return sections;
  }
}

/** True if a character of a word is next to the range. */
function touchesWord(text: string, from: number, to: number): boolean {
  // Two code units are enough for one character.
  return WORD_AT_END.test(text.slice(Math.max(0, from - 2), from)) ||
    WORD_AT_START.test(text.slice(to, to + 2));
}
