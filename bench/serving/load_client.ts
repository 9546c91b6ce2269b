/**
 * A client of a load test: it asks, reads fast or slowly, vanishes, and sends what a server must
 * refuse.
 *
 * @module
 */
import { RandomStream } from "../../src/random.ts";
import { type Question, requestBody } from "./question_set.ts";
import type { LoadNumbers } from "./load_numbers.ts";

/** What all clients share. */
export interface LoadPlan {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  /** Short answers, greedy and sampled. */
  readonly short: readonly Question[];
  /** Long greedy answers. */
  readonly long: readonly Question[];
  /** Bytes that are one too many. */
  readonly tooManyBytes: number;
  readonly numbers: LoadNumbers;
  /** When to begin nothing new, as `performance.now()` tells it. */
  readonly until: number;
}

const COMPARED = "answers compared with generate's";

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** A chunk of a streamed answer, as far as it is read here. */
interface StreamChunk {
  readonly choices?: readonly {
    readonly index: number;
    readonly delta: { readonly content?: string };
  }[];
  readonly error?: { readonly message: string };
}

/** One of the clients. */
export class LoadClient {
  readonly #plan: LoadPlan;
  readonly #random: RandomStream;

  constructor(plan: LoadPlan, number: number) {
    this.#plan = plan;
    this.#random = new RandomStream(number, "load client");
  }

  /** Does one thing after the other until the plan's end. */
  async run(): Promise<void> {
    // How often each is chosen, in percent.
    const deeds: readonly [weight: number, deed: () => Promise<void>][] = [
      [30, () => this.#askWhole(this.#pick(this.#plan.short))],
      [25, () => this.#askStreamed(this.#pick(this.#plan.short))],
      [8, () => this.#askStreamed(this.#pick(this.#plan.long), 40)],
      [6, () => this.#askWhole(this.#pick(this.#plan.long))],
      [12, () => this.#vanish()],
      [3, () => this.#breakOff()],
      [3, () => this.#sendTooMuch()],
      [6, () => this.#sendBrokenPicture()],
      [4, () => this.#sendNonsense()],
      [3, () => this.#look()],
    ];
    const total = deeds.reduce((sum, [weight]) => sum + weight, 0);
    while (performance.now() < this.#plan.until) {
      let chosen = this.#random.nextInt(total);
      const [, deed] = deeds.find(([weight]) => (chosen -= weight) < 0)!;
      try {
        await deed();
      } catch (error) {
        this.#plan.numbers.fail(
          error instanceof Error ? `${error.name}: ${error.message}` : `${error}`,
        );
      }
    }
  }

  #pick<T>(list: readonly T[]): T {
    return list[this.#random.nextInt(list.length)];
  }

  /** Asks again after a 429, as OpenAI's clients do. */
  async #post(body: unknown, signal?: AbortSignal): Promise<Response> {
    for (;;) {
      const response = await fetch(`${this.#plan.url}/v1/chat/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: typeof body === "string" ? body : JSON.stringify(body),
        signal,
      });
      if (response.status !== 429) return response;
      this.#plan.numbers.count("429, asked again");
      const seconds = Number(response.headers.get("retry-after"));
      await response.body?.cancel();
      if (!(seconds > 0)) {
        throw new Error("Cannot ask again: a response with status 429 has no retry-after");
      }
      await pause(1000 * seconds * this.#random.nextFloat());
    }
  }

  #compare(question: Question, answers: readonly string[], how: string): void {
    const { numbers } = this.#plan;
    numbers.count(COMPARED);
    numbers.count(`answered: ${how}`);
    if (answers.every((text, i) => text === question.answers[i])) return;
    numbers.fail(
      `${how} answer of ${question.model} to ${JSON.stringify(question.text)}: got ` +
        `${JSON.stringify(answers)}, want ${JSON.stringify(question.answers)}`,
    );
  }

  async #askWhole(question: Question): Promise<void> {
    const began = performance.now();
    const response = await this.#post(requestBody(question));
    const body = await response.json();
    if (response.status !== 200) {
      throw new Error(`Cannot read the answer: status ${response.status}, ${JSON.stringify(body)}`);
    }
    const texts = body.choices.map((choice: { message: { content: string } }) =>
      choice.message.content
    );
    if (this.#plan.short.includes(question)) {
      this.#plan.numbers.answerMs.push(performance.now() - began);
    }
    this.#compare(question, texts, "whole");
  }

  /** @param slowMs waits so long before each read, and asks for many bytes a token */
  async #askStreamed(question: Question, slowMs = 0): Promise<void> {
    const began = performance.now();
    const further = slowMs > 0 ? { logprobs: true, top_logprobs: 20 } : {};
    const response = await this.#post(requestBody(question, { stream: true, ...further }));
    if (response.status !== 200) {
      throw new Error(
        `Cannot read the stream: status ${response.status}, ${await response.text()}`,
      );
    }
    const texts: string[] = new Array<string>(question.settings.n).fill("");
    let isDone = false, hasText = false;
    for await (const data of this.#events(response, slowMs)) {
      isDone = data === "[DONE]";
      if (isDone) break;
      const { choices = [], error }: StreamChunk = JSON.parse(data);
      if (error !== undefined) {
        throw new Error(`Cannot read the stream to its end: ${error.message}`);
      }
      for (const { index, delta } of choices) {
        const text = delta.content ?? "";
        if (text !== "" && !hasText && slowMs === 0) {
          this.#plan.numbers.firstTextMs.push(performance.now() - began);
        }
        hasText ||= text !== "";
        texts[index] += text;
      }
    }
    if (!isDone) throw new Error("Cannot trust a stream that ends without [DONE]");
    if (slowMs === 0 && this.#plan.short.includes(question)) {
      this.#plan.numbers.answerMs.push(performance.now() - began);
    }
    this.#compare(question, texts, slowMs > 0 ? "streamed to a slow reader" : "streamed");
  }

  /** The data of server-sent events. */
  async *#events(response: Response, slowMs: number): AsyncGenerator<string> {
    let text = "";
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    try {
      for (;;) {
        if (slowMs > 0) await pause(slowMs * this.#random.nextFloat());
        const { value, done } = await reader.read();
        if (done) return;
        text += value;
        const events = text.split("\n\n");
        text = events.pop()!;
        for (const event of events) {
          // Comments come while an answer waits.
          if (event.startsWith("data: ")) yield event.slice("data: ".length);
        }
      }
    } finally {
      await reader.cancel();
    }
  }

  /** Goes away in the middle of an answer, streamed or not. */
  async #vanish(): Promise<void> {
    const question = this.#pick(this.#plan.long);
    const gone = new AbortController();
    const stream = this.#random.nextInt(2) === 0;
    const timer = setTimeout(() => gone.abort(), 5 + this.#random.nextInt(150));
    try {
      const settings = { stream, max_tokens: 2000, n: 1 + this.#random.nextInt(3) };
      const response = await this.#post(requestBody(question, settings), gone.signal);
      await response.text();
      this.#plan.numbers.count("vanished too late");
    } catch (error) {
      if (!gone.signal.aborted) throw error;
      this.#plan.numbers.count(stream ? "vanished from a stream" : "vanished while waiting");
    } finally {
      clearTimeout(timer);
    }
  }

  async #connect(): Promise<Deno.TcpConn> {
    const { hostname, port } = new URL(this.#plan.url);
    return await Deno.connect({ hostname, port: Number(port) });
  }

  /** Breaks off the connection in the middle of its body. */
  async #breakOff(): Promise<void> {
    using connection = await this.#connect();
    const head =
      "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 50000\r\n\r\n";
    await connection.write(new TextEncoder().encode(`${head}{"messages": [`));
    await pause(this.#random.nextInt(50));
    this.#plan.numbers.count("broke off a body");
  }

  async #expect(status: number, body: BodyInit, name: string): Promise<void> {
    const response = await this.#postRaw(body);
    const text = await response.text();
    if (response.status !== status || !text.includes('"error"')) {
      throw new Error(
        `${name}: got status ${response.status} ${text.slice(0, 200)}, want ${status}`,
      );
    }
    this.#plan.numbers.count(`${status}: ${name}`);
  }

  async #postRaw(body: BodyInit): Promise<Response> {
    return await fetch(`${this.#plan.url}/v1/chat/completions`, { method: "POST", body });
  }

  /** A body above the bound, with its length or in chunks of unknown number. */
  async #sendTooMuch(): Promise<void> {
    const bytes = this.#plan.tooManyBytes;
    if (this.#random.nextInt(2) === 0) {
      return await this.#expect(413, new Uint8Array(bytes).fill(32), "too large a body");
    }
    let sent = 0;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (sent > bytes) return controller.close();
        controller.enqueue(new Uint8Array(2 ** 18).fill(32));
        sent += 2 ** 18;
      },
    });
    await this.#expect(413, body, "too large a body in chunks");
  }

  async #sendBrokenPicture(): Promise<void> {
    const question = this.#pick(this.#plan.short.filter(({ pictures }) => pictures.length > 0));
    const [, base64] = question.pictures[0].split(",");
    const file = Uint8Array.fromBase64(base64);
    const kind = this.#random.nextInt(4);
    if (kind === 0) file.fill(7); // No picture.
    // IHDR says 100,000 × 100,000 pixels.
    else if (kind === 1) {
      new DataView(file.buffer).setUint32(16, 100_000),
        new DataView(file.buffer).setUint32(20, 100_000);
    }
    const broken = kind === 2
      ? file.slice(0, file.length >> 1)
      : kind === 3
      ? new Uint8Array()
      : file;
    const pictures = [`data:image/png;base64,${broken.toBase64()}`];
    const name = ["no picture", "too many pixels", "half a picture", "an empty picture"][kind];
    await this.#expect(400, JSON.stringify(requestBody({ ...question, pictures })), name);
  }

  async #sendNonsense(): Promise<void> {
    const question = this.#pick(this.#plan.short);
    const cases: [status: number, body: string, name: string][] = [
      [400, "{", "no JSON"],
      [400, "[]", "no object"],
      [404, JSON.stringify(requestBody({ ...question, model: "gpt-5" })), "no such model"],
      [400, JSON.stringify(requestBody(question, { temprature: 1 })), "no such key"],
      [400, JSON.stringify(requestBody(question, { max_tokens: 1e6 })), "too long an answer"],
    ];
    await this.#expect(...this.#pick(cases));
  }

  async #look(): Promise<void> {
    const path = this.#pick(["/", "/health", "/metrics", "/v1/models"]);
    const response = await fetch(this.#plan.url + path);
    await response.body?.cancel();
    if (response.status !== 200) throw new Error(`${path}: status ${response.status}`);
    this.#plan.numbers.count(`200: ${path}`);
  }
}
