/** A small byte-level BPE tokenizer for tests: 3 special tokens, 256 bytes, a few merges. */
import { Tokenizer } from "../../src/text/tokenizer.ts";
import { DEFAULT_CHAT_TEMPLATE, defaultExtraTokens } from "../../src/vlm_config.ts";

function byteCharacters(): string[] {
  let stand = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) ||
      byte >= 0xae;
    return String.fromCodePoint(printable ? byte : stand++);
  });
}

/** Tokenizer of 262 base tokens: specials 0 to 2, bytes from 3 on, then "he", "Ġt", "Ġthe". */
export function byteLevelTokenizer(): Tokenizer {
  const specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
  const vocab: Record<string, number> = {};
  [...specials, ...byteCharacters(), "he", "Ġt", "Ġthe"].forEach((token, id) => vocab[token] = id);
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false };
  return Tokenizer.fromJson({
    tokenizer: {
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: specials.map((content, id) => ({ id, content, ...flags, special: true })),
      normalizer: null,
      pre_tokenizer: {
        type: "Sequence",
        pretokenizers: [
          { type: "Digits", individual_digits: true },
          { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
        ],
      },
      post_processor: null,
      decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
      model: {
        type: "BPE",
        dropout: null,
        unk_token: null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: false,
        vocab,
        merges: [["h", "e"], ["Ġ", "t"], ["Ġt", "he"]],
      },
    },
    config: { bos_token: "<|im_start|>", eos_token: "<|im_end|>", unk_token: "<|endoftext|>" },
  });
}

/** The same after nanoVLM's `get_tokenizer`. */
export function chatTokenizer(): Tokenizer {
  return byteLevelTokenizer().withExtraTokens(defaultExtraTokens(), DEFAULT_CHAT_TEMPLATE);
}
