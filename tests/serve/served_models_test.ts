import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import OpenAI from "openai";
import * as tf from "@tensorflow/tfjs";
import { generateText } from "../../src/generate/generate_text.ts";
import { loadModel } from "../../src/generate/load_model.ts";
import {
  defaultLoraConfig,
  initializeAdapter,
  saveAdapterFolder,
} from "../../src/model/files/adapter_files.ts";
import { RandomStream } from "../../src/random.ts";
import { ChatEngine } from "../../src/serve/chat_engine.ts";
import { ChatServer } from "../../src/serve/chat_server.ts";
import { openServedModels } from "../../src/serve/served_models.ts";
import { command, start } from "../faults/interrupted_command.ts";
import { talkingModel } from "../generate/talking_model.ts";

/** A base model's folder and two adapters' folders. */
async function folders(): Promise<{ root: string; base: string; adapters: string[] }> {
  const root = await Deno.makeTempDir();
  const { model } = await talkingModel();
  const { config } = model;
  await model.savePretrained(`${root}/base`);
  model.dispose();
  const adapters: string[] = [];
  for (const [name, use_dora] of [["red", false], ["blue", true]] as const) {
    const lora = {
      ...defaultLoraConfig(),
      r: 4,
      use_dora,
      target_modules: ["q_proj", "gate_proj"],
    };
    const random = new RandomStream(use_dora ? 2 : 1, "adapter");
    const fresh = await initializeAdapter(
      config,
      lora,
      1,
      () => new Float32Array(config.lm_inter_dim * config.lm_hidden_dim).fill(1),
    );
    for (const { loraB } of fresh.adapters.values()) {
      loraB.data.forEach((_, i) => loraB.data[i] = random.nextNormal());
    }
    await saveAdapterFolder(`${root}/${name}`, config, fresh);
    adapters.push(`${root}/${name}`);
  }
  return { root, base: `${root}/base`, adapters };
}

async function answerOf(base: string, adapter?: string): Promise<string> {
  const { model, tokenizer } = await loadModel(base, { adapter });
  const [{ text }] = await generateText(
    model,
    tokenizer,
    [{ messages: [{ role: "user", content: "What?" }] }],
    { greedy: true, maxNewTokens: 16 },
  );
  model.dispose();
  return text;
}

Deno.test("adapters over one base answer as each loaded alone, together and beside the base", async () => {
  const { root, base, adapters } = await folders();
  const wanted: string[] = [];
  for (const adapter of [...adapters, undefined]) wanted.push(await answerOf(base, adapter));
  assertEquals(new Set(wanted).size, 3);
  const before = tf.memory().numTensors;
  {
    using served = await openServedModels(base, adapters);
    assertEquals([...served.models.keys()], ["red", "blue", "base"]);
    const chat = new ChatServer({ loaded: served.loaded, models: served.models });
    const answers = await Promise.all([...served.models.keys()].map(async (model) => {
      const response = await chat.handle(
        new Request("http://localhost/v1/chat/completions", {
          method: "POST",
          body: JSON.stringify({
            model,
            messages: [{ role: "user", content: "What?" }],
            temperature: 0,
            max_tokens: 16,
          }),
        }),
      );
      return (await response.json()).choices[0].message.content;
    }));
    assertEquals(answers, wanted);
    await chat.idle();
  }
  assertEquals(tf.memory().numTensors, before);
  await assertRejects(() => openServedModels(base, [`${root}/none`]), Error, "none");
  assertEquals(tf.memory().numTensors, before);
  await Deno.remove(root, { recursive: true });
});

Deno.test("a place goes to who came first, whichever model was asked for", async () => {
  const { root, base, adapters } = await folders();
  {
    using served = await openServedModels(base, adapters);
    const engine = new ChatEngine(served.loaded, served.models, { running: 1, waiting: 9 });
    const ended: string[] = [];
    const submit = (name: string, model: string) =>
      engine.submit({
        model,
        messages: [{ role: "user", content: "What?" }],
        images: [],
        sampling: { greedy: true },
        seed: 0,
        n: 1,
        maxTokens: 3,
        stop: [],
        topLogProbs: null,
      }, {
        onText: () => {},
        onEnd: () => {
          ended.push(name);
          // One model's clients ask again and again.
          if (model === "red" && ended.length < 6) submit(`${name}'`, model);
        },
        onFail: (error) => ended.push(String(error)),
      });
    submit("first", "red");
    submit("second", "red");
    submit("third", "base");
    await engine.idle();
    assertEquals(ended.slice(0, 3), ["first", "second", "third"]);
  }
  await Deno.remove(root, { recursive: true });
});

Deno.test("serve answers, finishes what is under way at Ctrl-C, and ends with 130", async () => {
  const { root, base, adapters } = await folders();
  const child = start([
    ...["serve", "--model", base, "--adapter", adapters[0], "--adapter", adapters[1]],
    ...["--port", "0", "--api-key", "k", "--backend", "wasm"],
  ]);
  const served = Promise.withResolvers<string>();
  const told = (async () => {
    let text = "";
    for await (const piece of child.stderr.pipeThrough(new TextDecoderStream())) {
      text += piece;
      const url = /chat API: (\S+)/.exec(text)?.[1];
      if (url !== undefined) served.resolve(url);
    }
    served.reject(new Error(text));
    return text;
  })();
  const client = new OpenAI({ baseURL: await served.promise, apiKey: "k", maxRetries: 0 });
  assertEquals((await client.models.list()).data.map(({ id }) => id), ["red", "blue", "base"]);
  const stream = await client.chat.completions.create({
    model: "red",
    messages: [{ role: "user", content: "Go on." }],
    max_tokens: 300,
    temperature: 1,
    seed: 1,
    stream: true,
    stream_options: { include_usage: true },
  });
  let tokens = 0, chunks = 0, reason: string | null = null;
  for await (const chunk of stream) {
    if (++chunks === 2) child.kill("SIGINT");
    reason = chunk.choices[0]?.finish_reason ?? reason;
    tokens = chunk.usage?.completion_tokens ?? tokens;
  }
  const { code } = await child.status;
  assertEquals(code, 130, await told);
  assert(reason === "stop" || (reason === "length" && tokens === 300), `${reason} after ${tokens}`);
  await assertRejects(() => client.models.list());
  await Deno.remove(root, { recursive: true });
});

Deno.test("serve names the port that is taken, and what to do", async () => {
  const { root, base } = await folders();
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = taken.addr as Deno.NetAddr;
  const { code, stderr } = await command([
    ...["serve", "--model", base, "--port", String(port), "--backend", "wasm"],
  ]);
  assertEquals(code, 1);
  assertStringIncludes(
    stderr,
    `Cannot listen on port ${port}: it is taken; choose another one or 0`,
  );
  await Deno.remove(root, { recursive: true });
});
