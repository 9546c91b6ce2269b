/**
 * One answer of a model on the terminal: its text as it comes, and how sure it is.
 *
 * @module
 */
import { generateText, type PromptImage } from "../src/generate/generate_text.ts";
import type { LoadedModel } from "../src/generate/load_model.ts";
import { chosenTokenLogProb } from "../src/serve/token_log_probs.ts";
import type { ChatMessage } from "../src/text/chat_message.ts";

/** How answers are chosen. */
export interface AnswerOptions {
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
  /** Whether to tell how sure the answer is. */
  readonly probs: boolean;
}

/** The model's probability of an answer and of other first tokens. */
export interface AnswerProbability {
  /** Of the whole answer, its end included: the product over its tokens. */
  readonly probability: number;
  /** The likeliest first tokens, the likeliest first. */
  readonly first: readonly { readonly token: string; readonly probability: number }[];
}

/** An answer. */
export interface Answer {
  readonly text: string;
  readonly tokens: readonly number[];
  readonly finishReason: "eos" | "length" | "stop";
  /** null unless it was asked for. */
  readonly sure: AnswerProbability | null;
  readonly seconds: number;
}

/** First tokens that are told. */
const ALTERNATIVES = 5;

/** Writes to standard output, all of it. */
export function writeOut(text: string): void {
  for (let bytes = new TextEncoder().encode(text); bytes.length > 0;) {
    bytes = bytes.subarray(Deno.stdout.writeSync(bytes));
  }
}

/**
 * The pictures of paths, as the model takes them.
 *
 * @throws {Error} with the path of a picture that cannot be used
 */
export async function readPictures(
  { imageProcessor }: LoadedModel,
  paths: readonly string[],
): Promise<PromptImage[]> {
  const images: PromptImage[] = [];
  for (const path of paths) {
    const bytes = await Deno.readFile(path);
    try {
      images.push(await imageProcessor.process(bytes));
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`Cannot use the picture ${path}: ${reason}`);
    }
  }
  return images;
}

/**
 * Asks a model.
 *
 * @param onText gets each piece of the answer as it comes
 */
export async function answerPrompt(
  loaded: LoadedModel,
  prompt: { readonly messages: readonly ChatMessage[]; readonly images: readonly PromptImage[] },
  { probs, ...options }: AnswerOptions,
  how: { readonly signal?: AbortSignal; readonly onText?: (piece: string) => void },
): Promise<Answer> {
  const { model, tokenizer } = loaded;
  let firstLogits: Float32Array | null = null;
  const started = performance.now();
  const [{ text, tokens, logProbs, finishReason }] = await generateText(
    model,
    tokenizer,
    [prompt],
    {
      ...options,
      onText: (_, piece) => how.onText?.(piece),
      ...(probs
        ? {
          onLogits: (_: readonly number[], logits: Float32Array) => firstLogits ??= logits.slice(),
        }
        : {}),
      signal: how.signal,
    },
  );
  const seconds = (performance.now() - started) / 1000;
  // TypeScript does not know that the closure above assigns it.
  const logits = firstLogits as Float32Array | null;
  const sure = logits === null || tokens.length === 0 ? null : {
    probability: Math.exp(logProbs.reduce((sum, value) => sum + value, 0)),
    first: chosenTokenLogProb(tokenizer, tokens[0], logits, { top: ALTERNATIVES }).top_logprobs.map(
      ({ token, logprob }) => ({ token, probability: Math.exp(logprob) }),
    ),
  };
  return { text, tokens, finishReason, sure, seconds };
}

/** A probability as a person reads it. */
function percent(probability: number): string {
  return `${(100 * probability).toFixed(probability >= 0.1 ? 0 : 1)} %`;
}

/** How sure an answer is, in a line. */
export function sureLine({ probability, first }: AnswerProbability): string {
  const others = first.map((one) => `${JSON.stringify(one.token)} ${percent(one.probability)}`);
  return `probability of this answer: ${percent(probability)}; of its first token: ${
    others.join(", ")
  }`;
}
