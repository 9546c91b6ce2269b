/**
 * How fast a server writes several streams.
 *
 * @module
 */
import { median } from "../../src/bench/timing.ts";
import type { ServerProcess } from "./server_process.ts";

/** Tokens a second of some streams together, the reading of their prompts left out. */
export interface StreamRate {
  readonly perSecond: number;
  /** By the processor time of the server, of all its threads; null if the system does not tell. */
  readonly perProcessorSecond: number | null;
}

/** What each stream asks. */
export interface StreamRequest {
  /** Bodies of the chat API, without `stream` and `max_tokens`; one for each stream. */
  readonly bodies: readonly Readonly<Record<string, unknown>>[];
  /** Tokens of each stream after its first one. */
  readonly tokens: number;
}

/** Characters of a stream that are kept: more than its last chunk, the one with the usage. */
const TAIL = 2000;

/** Reads a stream to its end. */
async function readStream(
  server: ServerProcess,
  body: Readonly<Record<string, unknown>>,
  onFirst: () => void,
): Promise<{ readonly promptTokens: number; readonly completionTokens: number }> {
  const response = await fetch(`${server.url}/v1/chat/completions`, {
    method: "POST",
    body: JSON.stringify({
      ...body,
      stream: true,
      stream_options: { include_usage: true },
      // A chunk a token, whether it has text or not.
      logprobs: true,
    }),
  });
  if (!response.ok) throw new Error(`Cannot ask for a stream: ${await response.text()}`);
  // The client has to leave the processor to the server, so it parses the last chunks alone.
  const decoder = new TextDecoder();
  let tail = "", isFirst = true;
  for await (const piece of response.body!) {
    tail = tail.slice(-TAIL) + decoder.decode(piece, { stream: true });
    if (isFirst && tail.includes('"logprobs":{')) {
      isFirst = false;
      onFirst();
    }
  }
  const chunks = tail.split("\n\n").filter((event) => event.startsWith("data: {"));
  const usage = chunks.map((event) => JSON.parse(event.slice("data: ".length)).usage).at(-1);
  if (!usage) throw new Error(`Cannot read the usage of a stream; it ends with ${tail}`);
  return { promptTokens: usage.prompt_tokens, completionTokens: usage.completion_tokens };
}

/**
 * Measures streams that begin together, from the moment at which all have their first token.
 *
 * @throws {Error} if a stream ends before it has all its tokens
 */
export async function streamRate(
  server: ServerProcess,
  { bodies, tokens }: StreamRequest,
): Promise<StreamRate & { readonly promptTokens: number }> {
  let waiting = bodies.length, began = 0, processorBefore: number | null = null;
  const read = await Promise.all(
    bodies.map((body) =>
      readStream(server, { ...body, max_tokens: 1 + tokens }, () => {
        if (--waiting > 0) return;
        began = performance.now();
        processorBefore = server.processorSeconds();
      })
    ),
  );
  const seconds = (performance.now() - began) / 1000;
  const processorAfter = server.processorSeconds();
  for (const { completionTokens } of read) {
    if (completionTokens === 1 + tokens) continue;
    throw new Error(
      `Cannot measure a stream that ends early: got ${completionTokens} tokens, want ${1 + tokens}`,
    );
  }
  const all = bodies.length * tokens;
  return {
    perSecond: all / seconds,
    perProcessorSecond: processorBefore === null || processorAfter === null
      ? null
      : all / (processorAfter - processorBefore),
    promptTokens: median(read.map(({ promptTokens }) => promptTokens)),
  };
}
