import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import OpenAI, { APIError } from "openai";
import * as tf from "@tensorflow/tfjs";
import { embeddedShapes } from "../../src/data/embedded/embedded_shapes.ts";
import { encodePng } from "../../src/data/embedded/embedded_shapes_png.ts";
import { generateText } from "../../src/generate/generate_text.ts";
import type { LoadedModel } from "../../src/generate/load_model.ts";
import { ChatServer, type ChatServerOptions } from "../../src/serve/chat_server.ts";
import { talkingModel } from "../generate/talking_model.ts";

const PNG = encodePng(embeddedShapes({ seed: 1 }).test[0].image);
const PICTURE = `data:image/png;base64,${PNG.toBase64()}`;

/** A server on loopback, and the real client. */
class Served implements AsyncDisposable {
  readonly client: OpenAI;
  readonly url: string;
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  constructor(readonly loaded: LoadedModel, readonly chat: ChatServer) {
    this.#server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      (request) => chat.handle(request),
    );
    this.url = `http://127.0.0.1:${this.#server.addr.port}`;
    this.client = new OpenAI({ baseURL: `${this.url}/v1`, apiKey: "secret", maxRetries: 0 });
  }

  async metric(name: string): Promise<number> {
    const headers = { authorization: "Bearer secret" };
    const text = await (await fetch(`${this.url}/metrics`, { headers })).text();
    return Number(new RegExp(`^${name} (.*)$`, "m").exec(text)?.[1]);
  }

  async [Symbol.asyncDispose]() {
    await this.#server.shutdown();
    await this.chat.idle();
    this.loaded.model.dispose();
  }
}

async function serve(options: Partial<ChatServerOptions> = {}): Promise<Served> {
  const loaded = await talkingModel();
  const chat = new ChatServer({
    loaded,
    models: new Map([["tiny", {}]]),
    apiKey: "secret",
    hosts: ["127.0.0.1"],
    ...options,
  });
  return new Served(loaded, chat);
}

const ask = (text: string, ...pictures: string[]) => [{
  role: "user" as const,
  content: [
    ...pictures.map((url) => ({ type: "image_url" as const, image_url: { url } })),
    { type: "text" as const, text },
  ],
}];

/** The answer that `generate --greedy` gives. */
async function generated({ model, tokenizer, imageProcessor }: LoadedModel, text: string) {
  const [generation] = await generateText(model, tokenizer, [{
    messages: [{ role: "user", content: text }],
    images: [await imageProcessor.process(PNG)],
  }], { greedy: true, maxNewTokens: 24 });
  return generation;
}

const SETTINGS = { model: "tiny", temperature: 0, max_tokens: 24 } as const;

Deno.test("the openai client gets generate's greedy answer, whole and streamed, with usage", async () => {
  await using served = await serve();
  const { client, loaded } = served;
  const messages = ask("Which shape is this?", PICTURE);
  const wanted = await generated(loaded, "Which shape is this?");
  const whole = await client.chat.completions.create({ ...SETTINGS, messages });
  assertEquals(whole.object, "chat.completion");
  assertEquals(whole.choices[0].message.content, wanted.text);
  assertEquals(
    whole.choices[0].finish_reason,
    wanted.finishReason === "length" ? "length" : "stop",
  );
  assertEquals(whole.usage!.completion_tokens, wanted.tokens.length);
  assertEquals(whole.usage!.total_tokens, whole.usage!.prompt_tokens + wanted.tokens.length);
  const stream = await client.chat.completions.create({
    ...SETTINGS,
    messages,
    stream: true,
    stream_options: { include_usage: true },
  });
  let text = "", chunks = 0, usage = null;
  for await (const chunk of stream) {
    chunks++;
    text += chunk.choices[0]?.delta.content ?? "";
    usage = chunk.usage ?? usage;
  }
  assertEquals(text, wanted.text);
  assertEquals(usage, whole.usage);
  assert(chunks > 3, `${chunks} chunks`);
  assertEquals((await client.models.list()).data.map(({ id }) => id), ["tiny"]);
});

Deno.test("answers asked for together are those asked for alone, and nothing leaks", async () => {
  await using served = await serve({ limits: { running: 5, waiting: 100 } });
  const { client, loaded } = served;
  const questions = Array.from(
    { length: 24 },
    (_, i) => `Question ${i} of ${"many ".repeat(i % 7)}?`,
  );
  const wanted: string[] = [];
  for (const question of questions) wanted.push((await generated(loaded, question)).text);
  const before = tf.memory().numTensors;
  const answers = await Promise.all(questions.map(async (question, i) => {
    await new Promise((resolve) => setTimeout(resolve, 7 * i));
    const { choices } = await client.chat.completions.create({
      ...SETTINGS,
      messages: ask(question, PICTURE),
    });
    return choices[0].message.content;
  }));
  assertEquals(answers, wanted);
  assert(new Set(answers).size > 3, "the answers differ");
  await served.chat.idle();
  assertEquals(tf.memory().numTensors, before);
  assertEquals(await served.metric("nanovlm_answers_running"), 0);
  assert(await served.metric("nanovlm_completion_tokens_total") > 100);
});

Deno.test("n answers of a seed are the same again and differ among each other", async () => {
  await using served = await serve();
  const create = () =>
    served.client.chat.completions.create({
      model: "tiny",
      messages: ask("What is it?", PICTURE),
      n: 4,
      seed: 7,
      temperature: 1.5,
      max_tokens: 12,
      logprobs: true,
      top_logprobs: 3,
    });
  const [first, second] = [await create(), await create()];
  const texts = first.choices.map(({ message }) => message.content);
  assertEquals(second.choices.map(({ message }) => message.content), texts);
  assert(new Set(texts).size > 1);
  for (const { logprobs } of first.choices) {
    for (const { logprob, top_logprobs } of logprobs!.content!) {
      assert(logprob <= 0);
      assertEquals(top_logprobs.length, 3);
      assert(
        top_logprobs[0].logprob >= top_logprobs[1].logprob && top_logprobs[0].logprob >= logprob,
      );
    }
  }
});

Deno.test("logprobs of the greedy answer are generate's, and a stop text is not part of it", async () => {
  await using served = await serve();
  const { client, loaded } = served;
  const wanted = await generated(loaded, "Why?");
  const messages = ask("Why?", PICTURE);
  const { choices: [choice] } = await client.chat.completions.create({
    ...SETTINGS,
    messages,
    logprobs: true,
  });
  choice.logprobs!.content!.forEach(({ logprob }, i) =>
    assertAlmostEquals(logprob, wanted.logProbs[i], 1e-4)
  );
  const stop = wanted.text.slice(3, 5);
  const cut = await client.chat.completions.create({ ...SETTINGS, messages, stop: [stop] });
  assertEquals(cut.choices[0].message.content, wanted.text.slice(0, wanted.text.indexOf(stop)));
  assertEquals(cut.choices[0].finish_reason, "stop");
});

Deno.test("what is wrong with a request is a 4xx that names the key", async () => {
  await using served = await serve({ limits: { bodyBytes: 100_000, pictures: 1, waiting: 5 } });
  const { client, url } = served;
  // deno-lint-ignore no-explicit-any -- the client's types refuse these bodies
  const cases: [body: any, status: number, param: string | null, text: string][] = [
    [{ model: "gpt-5", messages: ask("x") }, 404, "model", "want one of tiny"],
    [{ messages: [] }, 400, "messages", "one message or more"],
    [{ messages: ask("x"), temperature: 3 }, 400, "temperature", "from 0 to 2"],
    [{ messages: ask("x"), tools: [{}] }, 400, "tools", "not supported"],
    [{ messages: ask("x"), temprature: 1 }, 400, "temprature", "not known"],
    [{ messages: ask("x"), n: 99 }, 400, "n", "from 1 to 5"],
    [{ messages: ask("x"), max_tokens: 1e6 }, 400, "messages", "context holds 8192"],
    [{ messages: ask("x", PICTURE, PICTURE) }, 400, "messages", "1 at most"],
    [{ messages: ask("x", "data:image/png;base64,AAAA") }, 400, "messages", "Cannot decode"],
    [{ messages: ask("x", "http://127.0.0.1/x.png") }, 400, "messages", "--allow-image-urls"],
    [
      { messages: ask("x", "file:///etc/passwd") },
      400,
      "messages[0].content[0].image_url",
      "data:image",
    ],
    [{ messages: [{ role: "assistant", content: "x" }] }, 400, "messages", "to answer it"],
    [{ messages: ask("x".repeat(200_000)) }, 413, null, "more than 100000 bytes"],
  ];
  for (const [body, status, param, text] of cases) {
    const error = await assertRejects(() => client.chat.completions.create(body), APIError);
    assertEquals(
      [error.status, error.param ?? null],
      [status, param],
      JSON.stringify(body).slice(0, 80),
    );
    assert(error.message.includes(text), error.message);
  }
  const stranger = new OpenAI({ baseURL: `${url}/v1`, apiKey: "guess", maxRetries: 0 });
  assertEquals((await assertRejects(() => stranger.models.list(), APIError)).status, 401);
  const raw = (path: string, init: RequestInit = {}) =>
    fetch(url + path, {
      ...init,
      headers: { authorization: "Bearer secret", ...init.headers as Record<string, string> },
    });
  for (
    const [path, init, status] of [
      ["/v1/chat/completions", { method: "POST", body: "{" }, 400],
      ["/v1/chat/completions", {}, 405],
      ["/v2/models", {}, 404],
      ["/health", {}, 200],
    ] as const
  ) {
    const response = await raw(path, init);
    await response.body?.cancel();
    assertEquals(response.status, status, path);
    assertEquals(response.headers.get("access-control-allow-origin"), null);
  }
});

Deno.test("requests for another host are refused, and one site may be let in", async () => {
  await using served = await serve({ hosts: ["example.org"], allowOrigin: "https://a.example" });
  const response = await fetch(`${served.url}/health`);
  await response.body?.cancel();
  assertEquals(response.status, 403);
  assertEquals(response.headers.get("access-control-allow-origin"), "https://a.example");
});

Deno.test("a full queue answers 429, and a client that goes away frees its place", async () => {
  await using served = await serve({ limits: { running: 2, waiting: 3 } });
  const { client } = served;
  const long = { model: "tiny", messages: ask("Tell!", PICTURE), max_tokens: 4000, temperature: 1 };
  const controllers = Array.from({ length: 6 }, () => new AbortController());
  const asked = controllers.map(({ signal }) =>
    client.chat.completions.create({ ...long, stream: true, stop: [] }, { signal })
      .then(async (stream) => {
        for await (const _ of stream) { /* until it is aborted */ }
      })
  );
  const outcomes = Promise.allSettled(asked);
  while (await served.metric("nanovlm_answers_running") < 2) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const refused = await assertRejects(
    () =>
      Promise.any([client.chat.completions.create({ ...long, n: 3 })]).catch((error) => {
        throw error.errors[0];
      }),
    APIError,
  );
  assertEquals(refused.status, 429);
  for (const controller of controllers) controller.abort();
  await outcomes;
  await served.chat.idle();
  assertEquals(await served.metric("nanovlm_answers_running"), 0);
  assertEquals(await served.metric("nanovlm_answers_waiting"), 0);
  const { choices } = await client.chat.completions.create({
    ...SETTINGS,
    messages: ask("Still there?"),
  });
  assertEquals(choices.length, 1);
});

Deno.test("a client that goes away frees its place whatever its body's size, waiting or not", async () => {
  await using served = await serve({ limits: { running: 1, waiting: 8 } });
  const settled = async (running: number, waiting: number) => {
    const numbers = async () => [
      await served.metric("nanovlm_answers_running"),
      await served.metric("nanovlm_answers_waiting"),
    ];
    for (let tries = 0; tries < 200; tries++) {
      if (`${await numbers()}` === `${[running, waiting]}`) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    assertEquals(await numbers(), [running, waiting]);
  };
  for (const stream of [true, false]) {
    const controllers = [new AbortController(), new AbortController()];
    const asked = controllers.map(({ signal }) =>
      served.client.chat.completions.create({
        model: "tiny",
        messages: ask(`${"Tell! ".repeat(100)}`, PICTURE),
        max_tokens: 7000,
        temperature: 1.5,
        logprobs: false,
        stream,
      }, { signal }).then(async (answer) => {
        if ("choices" in answer) return;
        for await (const _ of answer) { /* until it is aborted */ }
      })
    );
    const outcomes = Promise.allSettled(asked);
    await settled(1, 1);
    controllers[1].abort();
    await settled(1, 0);
    controllers[0].abort();
    await settled(0, 0);
    await outcomes;
  }
});
