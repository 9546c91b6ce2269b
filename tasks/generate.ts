/**
 * `generate`.
 *
 * @module
 */
import { BACKEND_CHOICES, type BackendChoice } from "../src/config/schema/device_backend.ts";
import { type OptionSpec, type ParsedArguments, parseOptions } from "./arguments.ts";
import type { Command } from "./command.ts";
import {
  type AnswerOptions,
  answerPrompt,
  readPictures,
  sureLine,
  writeOut,
} from "./generate_answer.ts";
import { chat } from "./generate_chat.ts";
import { checkNamedPaths, type Named, namedModel } from "./named_paths.ts";
import { openModel } from "./open_model.ts";
import { type PromptPictures, promptPictures } from "./picture_paths.ts";
import { required } from "./required.ts";
import { textLines } from "./text_lines.ts";
import { UsageError } from "./usage_error.ts";

/** What `generate` was asked for. */
export interface GenerateOptions extends AnswerOptions {
  readonly model: string;
  readonly adapter: string | undefined;
  /** Paths of pictures, in the order in which the prompt sees them, or one pattern. */
  readonly images: readonly string[];
  /** null: a conversation in the terminal. */
  readonly prompt: string | null;
  readonly json: boolean;
  readonly backend: BackendChoice | undefined;
}

const options: readonly OptionSpec[] = [
  {
    name: "model",
    kind: "text",
    value: "DIR",
    summary: "a model's or a run's folder, or a Hub id",
  },
  { name: "adapter", kind: "text", value: "DIR", summary: "a PEFT adapter on top of it" },
  {
    name: "image",
    kind: "list",
    value: "F",
    summary: "a picture; again for more in one prompt; a pattern in quotes ('pics/*.png'): an " +
      "answer for each picture",
  },
  { name: "prompt", kind: "text", value: "T", summary: "the question" },
  { name: "chat", kind: "flag", summary: "ask questions in the terminal, one after the other" },
  {
    name: "probs",
    kind: "flag",
    summary: "how sure the answer is, and the likeliest first tokens",
  },
  {
    name: "max-new-tokens",
    kind: "integer",
    min: 1,
    value: "N",
    summary: "longest answer, in tokens (256)",
  },
  {
    name: "greedy",
    kind: "flag",
    summary:
      "take the likeliest token each time; the default unless an option of sampling is given",
  },
  {
    name: "temperature",
    kind: "number",
    min: 0,
    value: "X",
    summary: "of sampling (1 when sampling); 0: greedy",
  },
  {
    name: "top-p",
    kind: "number",
    min: 0,
    max: 1,
    value: "X",
    summary: "sample from the nucleus of this probability (off)",
  },
  {
    name: "top-k",
    kind: "integer",
    min: 0,
    value: "N",
    summary: "sample from the k likeliest tokens (off)",
  },
  {
    name: "min-p",
    kind: "number",
    min: 0,
    max: 1,
    value: "X",
    summary: "sample from tokens with this share of the likeliest one's probability (off)",
  },
  {
    name: "repetition-penalty",
    kind: "number",
    min: 0,
    value: "X",
    summary: "makes tokens that are there already less likely (1: off)",
  },
  { name: "stop", kind: "list", value: "TEXT", summary: "end before this text; again for more" },
  { name: "seed", kind: "integer", min: 0, value: "N", summary: "sample with this seed (0)" },
  { name: "backend", kind: "text", choices: BACKEND_CHOICES, summary: "where to compute" },
  {
    name: "json",
    kind: "flag",
    summary: "print one JSON object on stdout, and nothing else there",
  },
];

/** The options that ask for sampling. */
const SAMPLING = ["temperature", "top-p", "top-k", "min-p", "seed"];

/** @throws {UsageError} if options contradict each other */
function isGreedy(parsed: ParsedArguments): boolean {
  const sampling = SAMPLING.find((name) => parsed.number(name) !== undefined);
  if (parsed.number("temperature") === 0 || sampling === undefined) return true;
  return parsed.flag("greedy");
}

/**
 * Parses the arguments of `generate`.
 *
 * @throws {UsageError}
 */
export function parseGenerateArguments(args: readonly string[]): GenerateOptions {
  const parsed = parseOptions(args, options);
  const temperature = parsed.number("temperature") ?? 1;
  const isChat = parsed.flag("chat");
  if (isChat && (parsed.text("prompt") !== undefined || parsed.flag("json"))) {
    throw new UsageError("--chat asks what you type; leave out --prompt and --json");
  }
  return {
    model: required(parsed, "model"),
    adapter: parsed.text("adapter"),
    images: parsed.list("image"),
    prompt: isChat ? null : required(parsed, "prompt"),
    maxNewTokens: parsed.number("max-new-tokens") ?? 256,
    greedy: isGreedy(parsed),
    temperature: temperature === 0 ? 1 : temperature,
    topP: parsed.number("top-p") ?? 1,
    topK: parsed.number("top-k") ?? 0,
    minP: parsed.number("min-p") ?? 0,
    repetitionPenalty: parsed.number("repetition-penalty") ?? 1,
    stop: parsed.list("stop"),
    seed: parsed.number("seed") ?? 0,
    probs: parsed.flag("probs"),
    json: parsed.flag("json"),
    backend: parsed.text("backend") as BackendChoice | undefined,
  };
}

/** How answers are chosen. */
function answerOptions(asked: GenerateOptions): AnswerOptions {
  const { maxNewTokens, greedy, temperature, topP, topK, minP } = asked;
  const { repetitionPenalty, stop, seed, probs } = asked;
  return {
    ...{ maxNewTokens, greedy, temperature, topP, topK, minP },
    ...{ repetitionPenalty, stop, seed, probs },
  };
}

/** @returns whether it came to its end */
async function generate(
  asked: GenerateOptions,
  { prompts, isPattern }: PromptPictures,
  signal: AbortSignal,
): Promise<boolean> {
  using opened = await openModel(asked, signal);
  const { loaded } = opened;
  const options = answerOptions(asked);
  if (prompts[0].length === 0) {
    console.error("no picture was given: the answer is from the words alone (--image F)");
  }
  if (asked.prompt === null) {
    const lines = textLines(Deno.stdin.readable);
    const isTerminal = Deno.stdin.isTerminal();
    await chat(loaded, prompts[0], options, { lines, signal, isTerminal });
    return !signal.aborted;
  }
  for (const paths of prompts) {
    const images = await readPictures(loaded, paths);
    signal.throwIfAborted();
    const messages = [{ role: "user" as const, content: asked.prompt }];
    if (isPattern && !asked.json) writeOut(`${paths[0]}: `);
    const { text, tokens, finishReason, sure, seconds } = await answerPrompt(
      loaded,
      { messages, images },
      options,
      { signal, ...(asked.json ? {} : { onText: writeOut }) },
    );
    if (!asked.json) writeOut("\n");
    else if (!signal.aborted) {
      const record = {
        ...(isPattern ? { image: paths[0] } : {}),
        text,
        tokens,
        finish_reason: finishReason,
        ...(sure === null ? {} : { probability: sure.probability, first_tokens: sure.first }),
      };
      writeOut(JSON.stringify(record) + "\n");
    }
    if (sure !== null && !asked.json) console.error(sureLine(sure));
    if (signal.aborted || !isPattern) {
      console.error(
        `${tokens.length} tokens in ${seconds.toFixed(1)} s (${
          (tokens.length / seconds).toFixed(1)
        } tokens/s), ended by ${signal.aborted ? "Ctrl-C" : finishReason}`,
      );
    }
    if (signal.aborted) return false;
  }
  return true;
}

/** The command. */
export const command: Command = {
  name: "generate",
  summary: "ask a model about pictures",
  usage: "--model DIR (--prompt T | --chat) [options]",
  options,
  onInterrupt: "ending after this token",
  async run(args, { signal }) {
    const asked = parseGenerateArguments(args);
    const pictures = await promptPictures(asked.images);
    if (asked.prompt === null && pictures.isPattern) {
      throw new UsageError("--chat is about one picture or several, not about each of a pattern");
    }
    await checkNamedPaths([
      ["--model", "model", asked.model],
      ...namedModel("--adapter", asked.adapter),
      ...pictures.prompts.flat().map((image): Named => ["--image", "file", image]),
    ]);
    return await generate(asked, pictures, signal) ? 0 : 130;
  },
};
