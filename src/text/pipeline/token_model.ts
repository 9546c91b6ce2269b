/**
 * The parts of a tokenizer that the npm library computes: its model and its decoder.
 *
 * @module
 */
import type { Tokenizer as HuggingFaceTokenizer } from "@huggingface/tokenizers";
import { isJsonObject } from "../json_object.ts";
import type { TokenizerJson } from "../tokenizer_json.ts";

/**
 * The model of a tokenizer: encodes words as tokens of the vocabulary.
 *
 * @throws {Error} if the model has parts that are not supported
 */
export function wordEncoder(
  tokenizer: TokenizerJson,
  encoder: HuggingFaceTokenizer,
): (words: string[]) => string[] {
  const { type, vocab, unk_token, continuing_subword_prefix, end_of_word_suffix } = tokenizer.model;
  if (type === "WordLevel") {
    // The library lets unknown words pass.
    return (words) => words.map((word) => Object.hasOwn(vocab, word) ? word : String(unk_token));
  }
  for (const [key, value] of Object.entries({ continuing_subword_prefix, end_of_word_suffix })) {
    if (type !== "BPE" || typeof value !== "string" || value === "") continue;
    throw new Error(
      `Cannot use this tokenizer: its BPE model has ${key} ${
        JSON.stringify(value)
      }, which is not ` +
        "supported; byte-level BPE, as GPT-2, Llama and SmolLM2 have it, does without",
    );
  }
  const { model } = encoder;
  if (model === null) throw new Error("Cannot use this tokenizer: it has no model");
  return (words) => model._call(words);
}

/** The decoder in the form that the library understands. */
export function decoderOf({ decoder }: TokenizerJson): unknown {
  if (!isJsonObject(decoder) || decoder.type !== "Metaspace") return decoder ?? null;
  if (decoder.prepend_scheme !== "never") return decoder;
  // The library's own decoder always drops a leading space.
  const pattern = { String: decoder.replacement ?? "▁" };
  return {
    type: "Sequence",
    decoders: [{ type: "Replace", pattern, content: " " }, { type: "Fuse" }],
  };
}
