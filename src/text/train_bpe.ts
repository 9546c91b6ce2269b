/**
 * Trains a byte-level BPE tokenizer of SmolLM2's form: how the embedded tokenizer was made, and how
 * to make one for other small data sets.
 *
 * Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units", arXiv 1508.07909,
 * algorithm 1; bytes as GPT-2 has them.
 *
 * @module
 */
import type { TokenizerFiles } from "./tokenizer_json.ts";
import { DEFAULT_CHAT_TEMPLATE } from "../vlm_config.ts";

/** Ids 0, 1 and 2, as in SmolLM2. */
const SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] as const;

/** GPT-2's pieces: contractions, words, numbers, other signs, each with the space before it. */
const PIECES = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

/** GPT-2's 256 printable characters that represent bytes, in byte order. */
function byteCharacters(): string[] {
  const characters: string[] = [];
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const isPrintable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    characters.push(String.fromCodePoint(isPrintable ? byte : next++));
  }
  return characters;
}

/** A text and its weight. */
export interface WeightedText {
  text: string;
  weight: number;
}

/**
 * Learns merges: repeatedly, the most frequent pair of neighbours becomes one token (among equals
 * the first in code-unit order), until there are enough merges or no pair is left.
 *
 * @param texts the corpus
 * @param mergeCount most merges
 * @returns merges in order of rank, each two tokens of byte characters
 */
export function learnMerges(
  texts: readonly WeightedText[],
  mergeCount: number,
): [string, string][] {
  const characters = byteCharacters();
  const utf8 = new TextEncoder();
  const weights = new Map<string, number>();
  for (const { text, weight } of texts) {
    // In SmolLM2's form each digit is a piece of its own, without the space before it.
    for (const part of text.split(/(\p{N})/u)) {
      for (const [piece] of part.matchAll(PIECES)) {
        weights.set(piece, (weights.get(piece) ?? 0) + weight);
      }
    }
  }
  const words = [...weights].map(([piece, weight]) => ({
    tokens: [...utf8.encode(piece)].map((byte) => characters[byte]),
    weight,
  }));
  const merges: [string, string][] = [];
  while (merges.length < mergeCount) {
    const pairs = new Map<string, number>();
    for (const { tokens, weight } of words) {
      for (let i = 1; i < tokens.length; i++) {
        const pair = `${tokens[i - 1]} ${tokens[i]}`; // no byte character is a space
        pairs.set(pair, (pairs.get(pair) ?? 0) + weight);
      }
    }
    let best = "", most = 0;
    for (const [pair, weight] of pairs) {
      if (weight > most || (weight === most && pair < best)) [best, most] = [pair, weight];
    }
    if (most === 0) break;
    const [left, right] = best.split(" ");
    merges.push([left, right]);
    for (const word of words) word.tokens = mergePair(word.tokens, left, right);
  }
  return merges;
}

function mergePair(tokens: readonly string[], left: string, right: string): string[] {
  const merged: string[] = [];
  for (let i = 0; i < tokens.length; i++) {
    if (tokens[i] === left && tokens[i + 1] === right) {
      merged.push(left + right);
      i++;
    } else {
      merged.push(tokens[i]);
    }
  }
  return merged;
}

/**
 * tokenizer.json and tokenizer_config.json of merges: special tokens, then the 256 bytes, then one
 * token a merge; digits one by one; nanoVLM's chat template.
 */
export function byteLevelTokenizer(merges: readonly (readonly [string, string])[]): TokenizerFiles {
  const tokens = [
    ...SPECIAL_TOKENS,
    ...byteCharacters().sort(),
    ...merges.map(([left, right]) => left + right),
  ];
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true };
  return {
    tokenizer: {
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: SPECIAL_TOKENS.map((content, id) => ({
        id,
        content,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: true,
      })),
      normalizer: null,
      pre_tokenizer: {
        type: "Sequence",
        pretokenizers: [
          { type: "Digits", individual_digits: true },
          { ...byteLevel, use_regex: true },
        ],
      },
      post_processor: null,
      decoder: { ...byteLevel, add_prefix_space: true, use_regex: true },
      model: {
        type: "BPE",
        dropout: null,
        unk_token: null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: false,
        vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
        merges: merges.map((pair) => [...pair]),
      },
    },
    config: {
      tokenizer_class: "PreTrainedTokenizerFast",
      bos_token: "<|im_start|>",
      eos_token: "<|im_end|>",
      pad_token: "<|im_end|>",
      unk_token: "<|endoftext|>",
      clean_up_tokenization_spaces: false,
      model_max_length: 8192,
      chat_template: DEFAULT_CHAT_TEMPLATE,
    },
  };
}
