/**
 * `generate`.
 *
 * @module
 */
import { BACKEND_CHOICES, type BackendChoice } from "../src/config/schema/device_backend.ts";
import { generateText, type PromptImage } from "../src/generate/generate_text.ts";
import { type OptionSpec, parseOptions } from "./arguments.ts";
import type { Command } from "./command.ts";
import { checkNamedPaths, type Named, namedModel } from "./named_paths.ts";
import { openModel } from "./open_model.ts";
import { required } from "./required.ts";

/** What `generate` was asked for. */
export interface GenerateOptions {
  readonly model: string;
  readonly adapter: string | undefined;
  /** Paths of pictures, in the order in which the prompt sees them. */
  readonly images: readonly string[];
  readonly prompt: string;
  readonly maxNewTokens: number;
  readonly greedy: boolean;
  readonly temperature: number;
  /** 0 and 1: off. */
  readonly topP: number;
  /** 0: off. */
  readonly topK: number;
  /** 0: off. */
  readonly minP: number;
  /** 1: off. */
  readonly repetitionPenalty: number;
  readonly stop: readonly string[];
  readonly seed: number;
  readonly json: boolean;
  readonly backend: BackendChoice | undefined;
}

const options: readonly OptionSpec[] = [
  { name: "model", kind: "text", value: "DIR", summary: "a nanoVLM folder or Hub id" },
  { name: "adapter", kind: "text", value: "DIR", summary: "a PEFT adapter on top of it" },
  { name: "image", kind: "list", value: "F", summary: "a picture; again for more" },
  { name: "prompt", kind: "text", value: "T", summary: "the question" },
  {
    name: "max-new-tokens",
    kind: "integer",
    min: 1,
    value: "N",
    summary: "longest answer, in tokens (256)",
  },
  { name: "greedy", kind: "flag", summary: "take the likeliest token each time" },
  {
    name: "temperature",
    kind: "number",
    min: 0,
    value: "X",
    summary: "of sampling (1); 0: greedy",
  },
  { name: "top-p", kind: "number", min: 0, max: 1, value: "X", summary: "nucleus sampling (off)" },
  { name: "top-k", kind: "integer", min: 0, value: "N", summary: "the k likeliest tokens (off)" },
  {
    name: "min-p",
    kind: "number",
    min: 0,
    max: 1,
    value: "X",
    summary: "tokens with this share of the likeliest one's probability (off)",
  },
  {
    name: "repetition-penalty",
    kind: "number",
    min: 0,
    value: "X",
    summary: "makes tokens that are there already less likely (1: off)",
  },
  { name: "stop", kind: "list", value: "TEXT", summary: "end before this text; again for more" },
  { name: "seed", kind: "integer", min: 0, value: "N", summary: "of sampling (0)" },
  { name: "backend", kind: "text", choices: BACKEND_CHOICES, summary: "where to compute" },
  {
    name: "json",
    kind: "flag",
    summary: "print one JSON object on stdout, and nothing else there",
  },
];

/**
 * Parses the arguments of `generate`.
 *
 * @throws {UsageError}
 */
export function parseGenerateArguments(args: readonly string[]): GenerateOptions {
  const parsed = parseOptions(args, options);
  const temperature = parsed.number("temperature") ?? 1;
  return {
    model: required(parsed, "model"),
    adapter: parsed.text("adapter"),
    images: parsed.list("image"),
    prompt: required(parsed, "prompt"),
    maxNewTokens: parsed.number("max-new-tokens") ?? 256,
    greedy: parsed.flag("greedy") || temperature === 0,
    temperature: temperature === 0 ? 1 : temperature,
    topP: parsed.number("top-p") ?? 1,
    topK: parsed.number("top-k") ?? 0,
    minP: parsed.number("min-p") ?? 0,
    repetitionPenalty: parsed.number("repetition-penalty") ?? 1,
    stop: parsed.list("stop"),
    seed: parsed.number("seed") ?? 0,
    json: parsed.flag("json"),
    backend: parsed.text("backend") as BackendChoice | undefined,
  };
}

/** @returns whether it came to its end */
async function generate(asked: GenerateOptions, signal: AbortSignal): Promise<boolean> {
  const pictures = await Promise.all(asked.images.map((path) => Deno.readFile(path)));
  using opened = await openModel(asked, signal);
  const { model, tokenizer, imageProcessor } = opened.loaded;
  const images: PromptImage[] = [];
  for (const [i, bytes] of pictures.entries()) {
    try {
      images.push(await imageProcessor.process(bytes));
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`Cannot use the picture ${asked.images[i]}: ${reason}`);
    }
  }
  const { maxNewTokens, greedy, temperature, topP, topK, minP, repetitionPenalty } = asked;
  const output = new TextEncoder();
  const write = (text: string) => {
    for (let bytes = output.encode(text); bytes.length > 0;) {
      bytes = bytes.subarray(Deno.stdout.writeSync(bytes));
    }
  };
  const started = performance.now();
  signal.throwIfAborted();
  const [{ text, tokens, finishReason }] = await generateText(
    model,
    tokenizer,
    [{ messages: [{ role: "user", content: asked.prompt }], images }],
    {
      maxNewTokens,
      greedy,
      temperature,
      topP,
      topK,
      minP,
      repetitionPenalty,
      stop: asked.stop,
      seed: asked.seed,
      onText: asked.json ? undefined : (_, piece) => write(piece),
      signal,
    },
  );
  const seconds = (performance.now() - started) / 1000;
  if (!asked.json) write("\n");
  else if (!signal.aborted) {
    write(JSON.stringify({ text, tokens, finish_reason: finishReason }) + "\n");
  }
  console.error(
    `${tokens.length} tokens in ${seconds.toFixed(1)} s (${
      (tokens.length / seconds).toFixed(1)
    } tokens/s), ended by ${signal.aborted ? "Ctrl-C" : finishReason}`,
  );
  return !signal.aborted;
}

/** The command. */
export const command: Command = {
  name: "generate",
  summary: "ask a model about pictures",
  usage: "--model DIR --prompt T [options]",
  options,
  onInterrupt: "ending after this token",
  async run(args, { signal }) {
    const asked = parseGenerateArguments(args);
    await checkNamedPaths([
      ["--model", "model", asked.model],
      ...namedModel("--adapter", asked.adapter),
      ...asked.images.map((image): Named => ["--image", "file", image]),
    ]);
    return await generate(asked, signal) ? 0 : 130;
  },
};
