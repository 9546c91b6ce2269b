/**
 * Answers in the shapes of OpenAI's chat API: one JSON object, or server-sent events.
 *
 * @module
 */
import type { EndReason } from "../generate/running_batch.ts";
import type { AcceptedPrompt, ChatEngine, ChatEvents, ChatPrompt } from "./chat_engine.ts";
import { ApiError } from "./api_error.ts";
import { ClientGone, Heartbeat, patientJson } from "./patient_response.ts";
import type { ChosenTokenLogProb } from "./token_log_probs.ts";

/** A prompt with the settings of its response. */
export interface ResponseSettings {
  readonly prompt: ChatPrompt;
  readonly stream: boolean;
  readonly includeUsage: boolean;
}

/** What became of an answer, for the metrics. */
export interface AnswerNumbers {
  readonly promptTokens: number;
  readonly completionTokens: number;
  /** null if it had no text. */
  readonly firstTokenMs: number | null;
  readonly totalMs: number;
}

const FINISH_REASON: Readonly<Record<EndReason, string>> = {
  eos: "stop",
  stop: "stop",
  length: "length",
};

function usageOf({ promptTokens, completionTokens }: AcceptedPrompt) {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
  };
}

function headOf(model: string, object: string) {
  return {
    id: `chatcmpl-${crypto.randomUUID().replaceAll("-", "")}`,
    object,
    created: Math.floor(Date.now() / 1000),
    model,
  };
}

/** Measures an answer from its submission on. */
class AnswerClock {
  readonly #started = performance.now();
  #firstMs: number | null = null;

  sawText(text: string): void {
    if (text !== "") this.#firstMs ??= performance.now() - this.#started;
  }

  numbers({ promptTokens, completionTokens }: AcceptedPrompt): AnswerNumbers {
    const totalMs = performance.now() - this.#started;
    return { promptTokens, completionTokens, firstTokenMs: this.#firstMs, totalMs };
  }
}

/**
 * The whole answer as one JSON object.
 *
 * @param signal aborts when the client goes away
 * @param onDone gets the numbers of an answer that was written to its end
 * @throws {ApiError} if the prompt is refused or its answer fails
 */
async function wholeAnswer(
  engine: ChatEngine,
  { prompt }: ResponseSettings,
  signal: AbortSignal,
  onDone: (numbers: AnswerNumbers) => void,
): Promise<Response> {
  const choices = Array.from({ length: prompt.n }, (_, index) => ({
    index,
    message: { role: "assistant", content: "", refusal: null },
    logprobs: prompt.topLogProbs === null ? null : { content: [] as ChosenTokenLogProb[] },
    finish_reason: "",
  }));
  const clock = new AnswerClock();
  const ended = Promise.withResolvers<void>();
  let left = prompt.n;
  const accepted = engine.submit(prompt, {
    onText(choice, text, logProbs) {
      clock.sawText(text);
      choices[choice].message.content += text;
      choices[choice].logprobs?.content.push(...logProbs);
    },
    onEnd(choice, reason) {
      choices[choice].finish_reason = FINISH_REASON[reason];
      if (--left === 0) ended.resolve();
    },
    onFail: ended.reject,
  });
  const leave = () => {
    accepted.cancel();
    ended.reject(new ClientGone("the client went away"));
  };
  signal.addEventListener("abort", leave);
  if (signal.aborted) leave();
  const answer = ended.promise.finally(() => signal.removeEventListener("abort", leave))
    .then(() => {
      onDone(clock.numbers(accepted));
      return {
        ...headOf(prompt.model, "chat.completion"),
        choices,
        usage: usageOf(accepted),
      };
    });
  try {
    return await patientJson(answer, leave);
  } catch (error) {
    if (error instanceof ClientGone) return new Response(null, { status: 499 });
    throw failed(error);
  }
}

function failed(error: unknown): ApiError {
  console.error(error);
  const reason = error instanceof Error ? error.message : String(error);
  return new ApiError(500, `the answer failed: ${reason}`);
}

/** The answer as server-sent events while it is written. */
function streamedAnswer(
  engine: ChatEngine,
  { prompt, includeUsage }: ResponseSettings,
  signal: AbortSignal,
  onDone: (numbers: AnswerNumbers) => void,
): Response {
  const head = headOf(prompt.model, "chat.completion.chunk");
  const encoder = new TextEncoder();
  const clock = new AnswerClock();
  let left = prompt.n, isOpen = true;
  let accepted: AcceptedPrompt | null = null;
  let heartbeat: Heartbeat | null = null;
  let controller: ReadableStreamDefaultController<Uint8Array>;
  const send = (data: unknown) => {
    if (!isOpen) return;
    const text = typeof data === "string" ? data : JSON.stringify(data);
    controller.enqueue(encoder.encode(`data: ${text}\n\n`));
    heartbeat?.sent();
  };
  const chunk = (choices: readonly unknown[]) =>
    send({ ...head, choices, ...(includeUsage ? { usage: null } : {}) });
  const choiceOf = (
    index: number,
    delta: Readonly<Record<string, string>>,
    logProbs: readonly ChosenTokenLogProb[] | null = null,
    reason: string | null = null,
  ) => ({
    index,
    delta,
    logprobs: logProbs === null ? null : { content: logProbs },
    finish_reason: reason,
  });
  const close = () => {
    heartbeat?.stop();
    if (isOpen) controller.close();
    isOpen = false;
  };
  const events: ChatEvents = {
    onText(choice, text, logProbs) {
      clock.sawText(text);
      const reported = prompt.topLogProbs === null ? null : logProbs;
      chunk([choiceOf(choice, { content: text }, reported)]);
    },
    onEnd(choice, reason) {
      chunk([choiceOf(choice, {}, null, FINISH_REASON[reason])]);
      if (--left > 0) return;
      if (includeUsage) send({ ...head, choices: [], usage: usageOf(accepted!) });
      send("[DONE]");
      onDone(clock.numbers(accepted!));
      close();
    },
    onFail(error) {
      send(failed(error).body);
      close();
    },
  };
  const leave = () => {
    heartbeat?.stop();
    isOpen = false;
    accepted?.cancel();
  };
  const body = new ReadableStream<Uint8Array>({
    start(ownController) {
      controller = ownController;
      // Whatever is refused is refused before the response begins, with its own status.
      accepted = engine.submit(prompt, events);
      // A comment, which readers of server-sent events leave out.
      heartbeat = new Heartbeat(() => controller.enqueue(encoder.encode(": waiting\n\n")));
      // A client may go away before anything reads this stream.
      signal.addEventListener("abort", leave, { once: true });
      if (signal.aborted) leave();
      for (let index = 0; index < prompt.n; index++) {
        chunk([choiceOf(index, { role: "assistant", content: "" })]);
      }
    },
    cancel: leave,
  });
  return new Response(body, {
    headers: { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" },
  });
}

/**
 * Answers a prompt.
 *
 * @param signal aborts when the client goes away
 * @param onDone gets the numbers of an answer that was written to its end
 * @throws {ApiError} if the prompt is refused, or its answer fails before anything was sent
 */
export async function answerChat(
  engine: ChatEngine,
  settings: ResponseSettings,
  signal: AbortSignal,
  onDone: (numbers: AnswerNumbers) => void,
): Promise<Response> {
  return settings.stream
    ? streamedAnswer(engine, settings, signal, onDone)
    : await wholeAnswer(engine, settings, signal, onDone);
}
