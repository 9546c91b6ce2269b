/**
 * Pre-tokenizers: they cut a normalized text into the pieces that the model of a tokenizer encodes.
 *
 * The results are those of the Rust library `tokenizers` (`tokenizers/src/pre_tokenizers`). The
 * classes of the npm library differ from it in `Digits` (numerals other than 0 to 9), `Whitespace`
 * (letters other than a to z), `Punctuation`, `Split` and `Metaspace` (behaviors), and in what white
 * space is (U+0085, U+FEFF).
 *
 * @module
 */
import { isJsonObject } from "../json_object.ts";
import { byteCharactersOf } from "./byte_characters.ts";
import { SPLIT_BEHAVIORS, type SplitBehavior, splitText } from "./text_split.ts";
import { escapeRegExp, tokenPattern } from "./token_pattern.ts";

/**
 * Cuts a text into pieces.
 *
 * @param isStart true if the text begins where the whole input begins
 */
export type PreTokenizer = (text: string, isStart: boolean) => string[];

const WHITE_SPACE = /\p{White_Space}/gu;
const NUMERAL = /\p{N}/gu;
// ASCII punctuation has symbols such as $ and +, which Unicode does not count as punctuation.
const PUNCTUATION = /[\p{P}$+<=>^`|~]/gu;
/** `\w` of Rust's regular expressions, as the inside of a character class. */
export const RUST_WORD = String.raw`\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}`;
const WORDS = new RegExp(`[${RUST_WORD}]+|[^${RUST_WORD}\\p{White_Space}]+`, "gu");
// GPT-2's pattern, with Unicode's white space.
const GPT2 =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

function behaviorOf(value: unknown, part: string, standard: SplitBehavior): SplitBehavior {
  const name = String(value ?? standard).replaceAll("_", "").toLowerCase();
  const behavior = SPLIT_BEHAVIORS.find((known) => known.toLowerCase() === name);
  if (behavior !== undefined) return behavior;
  throw new Error(
    `Cannot use the tokenizer's ${part}: its behavior is ${JSON.stringify(value)}, ` +
      `wanted one of ${SPLIT_BEHAVIORS.join(", ")}`,
  );
}

function byteLevel(config: Record<string, unknown>): PreTokenizer {
  const addSpace = config.add_prefix_space ?? true;
  const useRegex = config.use_regex ?? true;
  return (text) => {
    if (addSpace && !text.startsWith(" ")) text = ` ${text}`;
    const pieces = useRegex ? splitText(text, GPT2, "Isolated") : [text];
    return pieces.map(byteCharactersOf);
  };
}

function metaspace(config: Record<string, unknown>): PreTokenizer {
  const mark = typeof config.replacement === "string" ? config.replacement : "▁";
  const scheme = config.prepend_scheme ??
    (config.add_prefix_space === false ? "never" : "always");
  const pattern = new RegExp(escapeRegExp(mark), "gu");
  return (text, isStart) => {
    text = text.replaceAll(" ", () => mark);
    const prepends = scheme === "always" || (scheme === "first" && isStart);
    if (prepends && !text.startsWith(mark)) text = mark + text;
    return (config.split ?? true) ? splitText(text, pattern, "MergedWithNext") : [text];
  };
}

function sequence(steps: readonly PreTokenizer[]): PreTokenizer {
  return (text, isStart) => {
    let pieces = [text];
    for (const step of steps) {
      pieces = pieces.flatMap((piece, i) => step(piece, isStart && i === 0));
    }
    return pieces;
  };
}

function fixedLength(config: Record<string, unknown>): PreTokenizer {
  const length = Number(config.length ?? 5);
  return (text) => {
    const characters = Array.from(text);
    const pieces: string[] = [];
    for (let i = 0; i < characters.length; i += length) {
      pieces.push(characters.slice(i, i + length).join(""));
    }
    return pieces;
  };
}

/**
 * The pre-tokenizer of tokenizer.json.
 *
 * @param config the value of `pre_tokenizer`; null keeps the text in one piece
 * @throws {Error} if its type is not supported or its options are not valid
 */
export function createPreTokenizer(config: unknown): PreTokenizer {
  if (config === null || config === undefined) return (text) => [text];
  if (!isJsonObject(config)) {
    throw new Error(
      `Cannot use the tokenizer's pre_tokenizer: got ${JSON.stringify(config)}, wanted an object`,
    );
  }
  switch (config.type) {
    case "Sequence": {
      const parts = Array.isArray(config.pretokenizers) ? config.pretokenizers : [];
      return sequence(parts.map(createPreTokenizer));
    }
    case "ByteLevel":
      return byteLevel(config);
    case "Digits": {
      const behavior = config.individual_digits ? "Isolated" : "Contiguous";
      return (text) => splitText(text, NUMERAL, behavior);
    }
    case "Split": {
      const pattern = tokenPattern(config.pattern, "pre_tokenizer Split");
      const behavior = behaviorOf(config.behavior, "pre_tokenizer Split", "Isolated");
      return (text) => splitText(text, pattern, behavior, config.invert === true);
    }
    case "Whitespace":
      return (text) => splitText(text, WORDS, "Removed", true);
    case "WhitespaceSplit":
      return (text) => splitText(text, WHITE_SPACE, "Removed");
    case "Punctuation": {
      const behavior = behaviorOf(config.behavior, "pre_tokenizer Punctuation", "Isolated");
      return (text) => splitText(text, PUNCTUATION, behavior);
    }
    case "BertPreTokenizer":
      return (text) =>
        splitText(text, WHITE_SPACE, "Removed")
          .flatMap((word) => splitText(word, PUNCTUATION, "Isolated"));
    case "Metaspace":
      return metaspace(config);
    case "CharDelimiterSplit": {
      const pattern = tokenPattern(config.delimiter, "pre_tokenizer CharDelimiterSplit");
      return (text) => splitText(text, pattern, "Removed");
    }
    case "FixedLength":
      return fixedLength(config);
    default:
      throw new Error(
        `Cannot use this tokenizer: its pre_tokenizer ${JSON.stringify(config.type)} is not ` +
          "supported; supported are ByteLevel, BertPreTokenizer, CharDelimiterSplit, Digits, " +
          "FixedLength, Metaspace, Punctuation, Sequence, Split, Whitespace, WhitespaceSplit",
      );
  }
}
