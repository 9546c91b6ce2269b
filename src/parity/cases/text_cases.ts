/**
 * Replays `tokenizer/` and the texts of `preprocess/`: ids, decoded texts, chat templates, image
 * strings, SFT and preference samples. All of it is exact.
 *
 * @module
 */
import { ChatExampleBuilder } from "../../text/chat_example.ts";
import { imageString, tileCount, type TileGrid, usesGlobalTile } from "../../text/image_string.ts";
import { StreamDecoder } from "../../text/stream_decoder.ts";
import { type ChatMessage, Tokenizer } from "../../text/tokenizer.ts";
import { exactCase, readFixtureJson } from "./exact_case.ts";
import type { ParityResult } from "../result.ts";

interface DecodeCase {
  ids: number[];
  decoded: string;
  decoded_skip_special: string;
}

interface TokenizerCases {
  vocab_size: number;
  eos_token_id: number;
  pad_token_id: number;
  image_token_id: number;
  extra_token_ids: Record<string, number>;
  cases: (DecodeCase & { text: string; tokens: string[] })[];
  decode_only: DecodeCase[];
}

interface ChatCases {
  template: string;
  cases: { messages: ChatMessage[]; add_generation_prompt: boolean; text: string; ids: number[] }[];
}

interface ImageStringCase {
  grid: TileGrid;
  image_string: string;
  image_string_ids: number[];
}

interface PreprocessFile {
  mp_image_token_length: number;
  images: (Record<string, unknown> & { file: string })[];
}

interface SftSamples {
  samples: {
    note: string;
    texts: { user: string; assistant: string }[];
    grids: TileGrid[];
    input_ids: number[];
    labels: number[];
    attention_mask: number[];
  }[];
  without_global_image_token?: { grids: TileGrid[]; image_string: string; tiles_kept: number[] }[];
}

interface PreferenceSamples {
  max_completion_length: number;
  samples: {
    prompt: string;
    chosen: string;
    rejected: string;
    prompt_input_ids: number[];
    chosen_input_ids: number[];
    rejected_input_ids: number[];
    image_ratios: TileGrid[];
    tiles: number;
  }[];
}

interface ModelConfig {
  vlm_extra_tokens: Record<string, string>;
  lm_chat_template: string;
  mp_image_token_length: number;
}

function decodedInPieces(tokenizer: Tokenizer, ids: number[], skipSpecialTokens: boolean): string {
  const stream = new StreamDecoder(tokenizer, { skipSpecialTokens });
  return ids.map((id) => stream.push(id)).join("") + stream.flush();
}

function replayDecode(
  tokenizer: Tokenizer,
  name: string,
  { ids, decoded, decoded_skip_special }: DecodeCase,
): ParityResult[] {
  const skip = { skipSpecialTokens: true };
  return [
    exactCase(name, "decoded", tokenizer.decode(ids), decoded),
    exactCase(name, "decoded_skip_special", tokenizer.decode(ids, skip), decoded_skip_special),
    exactCase(name, "decoded in pieces", decodedInPieces(tokenizer, ids, false), decoded),
    exactCase(
      name,
      "decoded in pieces, no special",
      decodedInPieces(tokenizer, ids, true),
      decoded_skip_special,
    ),
  ];
}

function replayTokenizer(
  tokenizer: Tokenizer,
  label: string,
  file: TokenizerCases,
): ParityResult[] {
  const results = [
    exactCase(label, "vocab_size", tokenizer.vocabSize, file.vocab_size),
    exactCase(label, "eos_token_id", tokenizer.eosTokenId, file.eos_token_id),
    exactCase(label, "pad_token_id", tokenizer.padTokenId, file.pad_token_id),
    exactCase(label, "image_token_id", tokenizer.imageTokenId, file.image_token_id),
  ];
  const roles = Object.keys(file.extra_token_ids);
  results.push(exactCase(
    label,
    "extra_token_ids",
    roles.map((role) => tokenizer.roleId(role)),
    roles.map((role) => file.extra_token_ids[role]),
  ));
  file.cases.forEach((recorded, index) => {
    const name = `${label}.cases[${index}]`;
    const tokens = recorded.ids.map((id) => tokenizer.idToToken(id));
    results.push(exactCase(name, "ids", tokenizer.encode(recorded.text), recorded.ids));
    results.push(exactCase(name, "tokens", tokens, recorded.tokens));
    results.push(...replayDecode(tokenizer, name, recorded));
  });
  file.decode_only.forEach((recorded, index) =>
    results.push(...replayDecode(tokenizer, `${label}.decode_only[${index}]`, recorded))
  );
  return results;
}

function replayChat(tokenizer: Tokenizer, label: string, file: ChatCases): ParityResult[] {
  const templated = tokenizer.withExtraTokens({}, file.template);
  return file.cases.flatMap((recorded, index) => {
    const text = templated.applyChatTemplate(recorded.messages, {
      addGenerationPrompt: recorded.add_generation_prompt,
    });
    const name = `${label}.cases[${index}]`;
    return [
      exactCase(name, "text", text, recorded.text),
      exactCase(name, "ids", templated.encode(text), recorded.ids),
    ];
  });
}

function isImageStringCase(value: unknown): value is ImageStringCase {
  return typeof value === "object" && value !== null && "image_string_ids" in value;
}

function replayImageStrings(tokenizer: Tokenizer, file: PreprocessFile): ParityResult[] {
  return file.images.flatMap((image) =>
    Object.entries(image).flatMap(([key, value]) => {
      if (!isImageStringCase(value)) return [];
      const text = imageString(tokenizer, [value.grid], file.mp_image_token_length);
      const name = `preprocess/${image.file} ${key}`;
      return [
        exactCase(name, "image_string", text, value.image_string),
        exactCase(name, "image_string_ids", tokenizer.encode(text), value.image_string_ids),
      ];
    })
  );
}

function replaySft(
  tokenizer: Tokenizer,
  file: SftSamples,
  mpImageTokenLength: number,
): ParityResult[] {
  // As in the reference, only the image token is removed from texts.
  const builder = new ChatExampleBuilder(tokenizer, {
    mpImageTokenLength,
    stripTypedTokens: "image",
  });
  return file.samples.flatMap((sample, index) => {
    const example = builder.build(
      sample.texts.flatMap(({ user, assistant }) => [
        { role: "user", content: user },
        { role: "assistant", content: assistant },
      ]),
      sample.grids,
    );
    const name = `preprocess/sft_samples[${index}] ${sample.note}`;
    const withGlobal = usesGlobalTile(tokenizer);
    const tiles = sample.grids.reduce((sum, grid) => sum + tileCount(grid, withGlobal), 0);
    return [
      exactCase(name, "input_ids", example.inputIds, sample.input_ids),
      exactCase(name, "labels", example.labels, sample.labels),
      exactCase(name, "attention_mask", example.attentionMask, sample.attention_mask),
      exactCase(name, "image tokens", example.imageTokenCount, tiles * mpImageTokenLength),
    ];
  });
}

function replayWithoutGlobal(tokenizer: Tokenizer, file: SftSamples): ParityResult[] {
  const imageToken = tokenizer.roleToken("image_token") ?? "";
  return (file.without_global_image_token ?? []).flatMap((recorded, index) => {
    const name = `preprocess/sft_samples.without_global_image_token[${index}]`;
    const tiles = recorded.grids.map((grid) => tileCount(grid, usesGlobalTile(tokenizer)));
    const imageTokens = recorded.image_string.split(imageToken).length - 1;
    const perTile = imageTokens / recorded.tiles_kept.reduce((sum, kept) => sum + kept, 0);
    const text = imageString(tokenizer, recorded.grids, perTile);
    return [
      exactCase(name, "image_string", text, recorded.image_string),
      exactCase(name, "tiles_kept", tiles, recorded.tiles_kept),
    ];
  });
}

function replayPreference(
  tokenizer: Tokenizer,
  file: PreferenceSamples,
  mpImageTokenLength: number,
): ParityResult[] {
  const builder = new ChatExampleBuilder(tokenizer, { mpImageTokenLength });
  return file.samples.flatMap((sample, index) => {
    const row = builder.buildPreference(sample, sample.image_ratios, file.max_completion_length);
    const name = `preprocess/preference_samples[${index}]`;
    const withGlobal = usesGlobalTile(tokenizer);
    const tiles = sample.image_ratios.reduce((sum, grid) => sum + tileCount(grid, withGlobal), 0);
    return [
      exactCase(name, "prompt_input_ids", row.promptIds, sample.prompt_input_ids),
      exactCase(name, "chosen_input_ids", row.chosenIds, sample.chosen_input_ids),
      exactCase(name, "rejected_input_ids", row.rejectedIds, sample.rejected_input_ids),
      exactCase(name, "tiles", tiles, sample.tiles),
    ];
  });
}

/**
 * Replays every recorded text, on the saved tokenizer and on `tokenizer/base` with the extra
 * tokens of `model/config.json`. Files that a fixtures folder lacks are passed over.
 *
 * @param directory the fixtures folder
 */
export async function replayTextCases(directory: string): Promise<ParityResult[]> {
  const read = <T>(path: string) => readFixtureJson<T>(`${directory}/${path}`);
  const config = await read<ModelConfig>("model/config.json");
  const cases = await read<TokenizerCases>("tokenizer/tokenizer_cases.json");
  const chat = await read<ChatCases>("tokenizer/chat_cases.json");
  const saved = await Tokenizer.fromFolder(`${directory}/tokenizer`);
  const tokenizers: [string, Tokenizer][] = [["tokenizer", saved]];
  const hasBase = await readFixtureJson(`${directory}/tokenizer/base/tokenizer.json`) !== null;
  const base = hasBase ? await Tokenizer.fromFolder(`${directory}/tokenizer/base`) : null;
  if (base !== null && config !== null) {
    const extended = base.withExtraTokens(config.vlm_extra_tokens, config.lm_chat_template);
    tokenizers.push(["tokenizer/base + extra tokens", extended]);
  }
  const results: ParityResult[] = [];
  for (const [label, tokenizer] of tokenizers) {
    if (cases !== null) results.push(...replayTokenizer(tokenizer, label, cases));
    if (chat !== null) results.push(...replayChat(tokenizer, `${label} chat`, chat));
  }
  const preprocess = await read<PreprocessFile>("preprocess/preprocess.json");
  const perTile = preprocess?.mp_image_token_length ?? config?.mp_image_token_length ?? 64;
  if (preprocess !== null) results.push(...replayImageStrings(saved, preprocess));
  const sft = await read<SftSamples>("preprocess/sft_samples.json");
  if (sft !== null) {
    results.push(...replaySft(saved, sft, perTile));
    if (base !== null && config !== null) {
      const { global_image_token: _, ...others } = config.vlm_extra_tokens;
      const tokenizer = base.withExtraTokens(others, config.lm_chat_template);
      results.push(...replayWithoutGlobal(tokenizer, sft));
    }
  }
  const preference = await read<PreferenceSamples>("preprocess/preference_samples.json");
  if (preference !== null) results.push(...replayPreference(saved, preference, perTile));
  return results;
}
