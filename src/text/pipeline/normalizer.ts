/**
 * Normalizers: what a tokenizer does to a text before it is cut into pieces.
 *
 * The results are those of the Rust library `tokenizers` (`tokenizers/src/normalizers`). The
 * classes of the npm library differ from it in lower case (a final sigma), white space (U+0085,
 * U+FEFF), `$` in a replacement, and CJK characters beyond U+FFFF.
 *
 * @module
 */
import { isJsonObject } from "../json_object.ts";
import { byteCharactersOf } from "./byte_characters.ts";
import { tokenPattern } from "./token_pattern.ts";

/** Changes a text. */
export type Normalizer = (text: string) => string;

/** Lower case of each character by itself: a final Σ becomes σ. */
function lowerCase(text: string): string {
  let lower = "";
  for (const character of text) lower += character.toLowerCase();
  return lower;
}

const CHINESE =
  /[\u4e00-\u9fff\u3400-\u4dbf\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b920}-\u{2ceaf}\uf900-\ufaff\u{2f800}-\u{2fa1f}]/gu;

/** BERT's normalizer. */
function bert(config: Record<string, unknown>): Normalizer {
  const lowercase = config.lowercase ?? true;
  const stripAccents = config.strip_accents ?? lowercase;
  return (text) => {
    if (config.clean_text ?? true) {
      text = text.replace(/[\0\ufffd]|(?![\t\n\r])\p{C}/gu, "").replace(/\p{White_Space}/gu, " ");
    }
    if (config.handle_chinese_chars ?? true) text = text.replace(CHINESE, " $& ");
    if (stripAccents) text = text.normalize("NFD").replace(/\p{Mn}/gu, "");
    return lowercase ? lowerCase(text) : text;
  };
}

/**
 * The normalizer of tokenizer.json.
 *
 * @param config the value of `normalizer`; null changes nothing
 * @throws {Error} if its type is not supported
 */
export function createNormalizer(config: unknown): Normalizer {
  if (config === null || config === undefined) return (text) => text;
  if (!isJsonObject(config)) {
    throw new Error(
      `Cannot use the tokenizer's normalizer: got ${JSON.stringify(config)}, wanted an object`,
    );
  }
  switch (config.type) {
    case "Sequence": {
      const steps = (Array.isArray(config.normalizers) ? config.normalizers : [])
        .map(createNormalizer);
      return (text) => steps.reduce((changed, step) => step(changed), text);
    }
    case "NFC":
    case "NFD":
    case "NFKC":
    case "NFKD": {
      const form = config.type;
      return (text) => text.normalize(form);
    }
    case "Lowercase":
      return lowerCase;
    case "Strip": {
      const left = config.strip_left ?? true, right = config.strip_right ?? true;
      return (text) => {
        if (left) text = text.replace(/^\p{White_Space}+/u, "");
        return right ? text.replace(/\p{White_Space}+$/u, "") : text;
      };
    }
    case "StripAccents":
      // U+1CF2 and U+1CF3 are marks in the library's older Unicode tables.
      return (text) => text.replace(/[\p{M}\u1cf2\u1cf3]/gu, "");
    case "Prepend": {
      const prefix = String(config.prepend);
      return (text) => text === "" ? text : prefix + text;
    }
    case "Replace": {
      const pattern = tokenPattern(config.pattern, "normalizer Replace");
      const content = String(config.content);
      return (text) => text.replace(pattern, () => content);
    }
    case "ByteLevel":
      return byteCharactersOf;
    case "BertNormalizer":
      return bert(config);
    default:
      throw new Error(
        `Cannot use this tokenizer: its normalizer ${JSON.stringify(config.type)} is not ` +
          "supported; supported are BertNormalizer, ByteLevel, Lowercase, NFC, NFD, NFKC, NFKD, " +
          "Prepend, Replace, Sequence, Strip, StripAccents",
      );
  }
}
