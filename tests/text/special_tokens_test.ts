/**
 * Added and special tokens after loading, against Transformers 4.57.6 (`AutoTokenizer`): each row is
 * a tokenizer.json's further added tokens, a tokenizer_config.json, a special_tokens_map.json, and
 * what `added_tokens_decoder` then has beyond ids 0 to 2.
 */
import { assertEquals, assertThrows } from "@std/assert";
import { Tokenizer } from "../../src/text/tokenizer.ts";
import type { TokenizerConfigJson, TokenizerJson } from "../../src/text/tokenizer_json.ts";
import { byteLevelTokenizer } from "./byte_level_tokenizer.ts";

const base = byteLevelTokenizer().files.tokenizer; // 262 tokens
const flags = {
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: false,
};

function added(id: number, content: string, more: Partial<typeof flags> = {}) {
  return { id, content, ...flags, ...more };
}

function json(tokens: ReturnType<typeof added>[]): TokenizerJson {
  return { ...base, added_tokens: [...base.added_tokens, ...tokens] };
}

async function load(
  tokens: ReturnType<typeof added>[],
  config: TokenizerConfigJson | null,
  map: TokenizerConfigJson | null = null,
): Promise<Tokenizer> {
  const dir = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${dir}/tokenizer.json`, JSON.stringify(json(tokens)));
    for (const [name, value] of [["tokenizer_config", config], ["special_tokens_map", map]]) {
      if (value !== null) await Deno.writeTextFile(`${dir}/${name}.json`, JSON.stringify(value));
    }
    return await Tokenizer.fromFolder(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** Further added tokens: id, text, flags that are set. */
function further(tokenizer: Tokenizer): [number, string, string][] {
  return tokenizer.files.tokenizer.added_tokens.filter(({ id }) => id > 2).map((token) => [
    token.id,
    token.content,
    (["special", "lstrip", "normalized"] as const).filter((flag) => token[flag]).join(" "),
  ]);
}

const end = { tokenizer_class: "PreTrainedTokenizerFast", eos_token: "<|im_end|>" };
const rows: {
  name: string;
  tokens?: ReturnType<typeof added>[];
  config: TokenizerConfigJson;
  map?: TokenizerConfigJson;
  want: [number, string, string][];
}[] = [
  {
    name: "added_tokens_decoder adds tokens",
    config: {
      ...end,
      added_tokens_decoder: { 262: added(0, "<x>", { special: true }), 263: added(0, "<y>") },
    },
    want: [[262, "<x>", "special"], [263, "<y>", ""]],
  },
  {
    name: "added_tokens_decoder changes flags",
    tokens: [added(262, "<x>")],
    config: {
      ...end,
      added_tokens_decoder: { 262: added(0, "<x>", { special: true, lstrip: true }) },
    },
    want: [[262, "<x>", "special lstrip"]],
  },
  {
    name: "added_tokens_decoder adds by its keys' order, with the next free ids",
    config: { ...end, added_tokens_decoder: { 600: added(0, "<x>"), 264: added(0, "<y>") } },
    want: [[262, "<y>", ""], [263, "<x>", ""]],
  },
  {
    name: "additional special tokens are added",
    config: { ...end, additional_special_tokens: ["<x>", "<y>"] },
    want: [[262, "<x>", "special"], [263, "<y>", "special"]],
  },
  {
    name: "extra special tokens by role are added",
    config: { ...end, extra_special_tokens: { foo_token: "<x>" } },
    want: [[262, "<x>", "special"]],
  },
  {
    name: "ids of tokenizer.json with gaps are closed",
    tokens: [added(600, "<x>"), added(700, "<y>")],
    config: end,
    want: [[262, "<x>", ""], [263, "<y>", ""]],
  },
  {
    name: "a padding token that is nowhere is added",
    config: { ...end, pad_token: "<x>" },
    want: [[262, "<x>", "special"]],
  },
  {
    name: "a named token given as an object keeps its flags",
    config: { ...end, pad_token: added(0, "<x>", { lstrip: true, normalized: true }) },
    want: [[262, "<x>", "special lstrip normalized"]],
  },
  {
    name: "a named token becomes special and keeps its flags",
    tokens: [added(262, "<x>", { lstrip: true })],
    config: { ...end, pad_token: "<x>" },
    want: [[262, "<x>", "special lstrip"]],
  },
  {
    name: "special_tokens_map.json adds tokens",
    config: end,
    map: { pad_token: "<x>", additional_special_tokens: ["<y>"] },
    want: [[262, "<x>", "special"], [263, "<y>", "special"]],
  },
  {
    name: "special_tokens_map.json is not read beside added_tokens_decoder",
    config: { ...end, added_tokens_decoder: { 2: added(0, "<|im_end|>", { special: true }) } },
    map: { eos_token: "<x>", pad_token: "<y>" },
    want: [],
  },
  {
    name: "named tokens are added in the order bos, eos, unk, sep, pad, cls, mask, additional",
    config: {
      ...end,
      mask_token: "<m>",
      pad_token: "<p>",
      bos_token: "<b>",
      cls_token: "<c>",
      additional_special_tokens: ["<x>"],
      unk_token: "<u>",
      sep_token: "<s>",
    },
    want: ["<b>", "<u>", "<s>", "<p>", "<c>", "<m>", "<x>"].map((text, i) => [
      262 + i,
      text,
      "special",
    ]),
  },
  {
    name: "a named token of the vocabulary alone becomes a special token with its id",
    config: { ...end, eos_token: "Ġthe" },
    want: [[261, "Ġthe", "special"]],
  },
];

for (const { name, tokens, config, map, want } of rows) {
  Deno.test(name, async () => {
    const tokenizer = await load(tokens ?? [], config, map ?? null);
    assertEquals(further(tokenizer), want);
    for (const [id, text] of want) assertEquals(tokenizer.encode(`a${text}`).at(-1), id);
  });
}

Deno.test("special_tokens_map.json comes before tokenizer_config.json without a decoder", async () => {
  const tokenizer = await load([], end, { eos_token: "<x>" });
  assertEquals(tokenizer.eosTokenId, 262);
});

Deno.test("GPT2Tokenizer and Qwen2Tokenizer have default tokens", async () => {
  const gpt2 = await load([], { tokenizer_class: "GPT2TokenizerFast" });
  assertEquals([gpt2.eosTokenId, gpt2.bosTokenId], [0, 0]);
  const qwen = await load([], { tokenizer_class: "Qwen2Tokenizer" });
  assertEquals([qwen.eosTokenId, qwen.padTokenId, qwen.bosTokenId], [0, 0, null]);
});

Deno.test("an extra token that is not a picture's is text: it is neither stripped nor forbidden", async () => {
  const config = { ...end, extra_special_tokens: { think_token: "<x>", image_token: "<i>" } };
  const tokenizer = await load([], config);
  assertEquals(tokenizer.extraTokens, { image_token: "<i>" });
  assertEquals(tokenizer.roleToken("think_token"), "<x>");
});

Deno.test("what resolving added stays when the tokenizer is saved and loaded", async () => {
  const tokenizer = await load([added(600, "<x>")], { ...end, pad_token: "<y>" });
  const dir = await Deno.makeTempDir();
  try {
    await tokenizer.save(dir);
    const loaded = await Tokenizer.fromFolder(dir);
    assertEquals(further(loaded), further(tokenizer));
    assertEquals(loaded.padTokenId, 263);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("parts of tokenizer.json that are not supported are refused by name", () => {
  const refuse = (change: Record<string, unknown>, text: string) =>
    assertThrows(() => Tokenizer.fromJson({ tokenizer: { ...base, ...change } }), Error, text);
  refuse({ pre_tokenizer: { type: "UnicodeScripts" } }, '"UnicodeScripts" is not supported');
  refuse({ normalizer: { type: "Precompiled" } }, '"Precompiled" is not supported');
  refuse({ model: { ...base.model, end_of_word_suffix: "</w>" } }, "end_of_word_suffix");
  refuse(
    { pre_tokenizer: { type: "Split", pattern: { Regex: "(?<=[" }, behavior: "Isolated" } },
    "regular expression",
  );
  refuse(
    { pre_tokenizer: { type: "Split", pattern: { String: "a" }, behavior: "Sideways" } },
    "Sideways",
  );
});
