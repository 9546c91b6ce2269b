/**
 * `serve`.
 *
 * @module
 */
import { basename, resolve } from "node:path";
import { BACKEND_CHOICES, type BackendChoice } from "../src/config/schema/device_backend.ts";
import type { PassOptions } from "../src/model/vlm.ts";
import { type OptionSpec, parseOptions } from "./arguments.ts";
import type { Command } from "./command.ts";
import { checkNamedPaths, namedModel } from "./named_paths.ts";
import { openModel } from "./open_model.ts";
import { required } from "./required.ts";

const LOOPBACK = ["localhost", "127.0.0.1", "[::1]"];

/** What `serve` was asked for. */
export interface ServeOptions {
  readonly model: string;
  readonly adapter: string | undefined;
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  readonly apiKey: string | undefined;
  readonly allowImageUrls: boolean;
  readonly allowOrigin: string | undefined;
  readonly running: number | undefined;
  readonly waiting: number | undefined;
  readonly backend: BackendChoice | undefined;
}

const options: readonly OptionSpec[] = [
  { name: "model", kind: "text", value: "DIR", summary: "a model's folder or Hub id" },
  {
    name: "adapter",
    kind: "text",
    value: "DIR",
    summary: "a PEFT adapter; it is a model of its own",
  },
  { name: "host", kind: "text", value: "H", summary: "the address to listen on (127.0.0.1)" },
  {
    name: "port",
    kind: "integer",
    min: 0,
    max: 65535,
    value: "N",
    summary: "the port (8000); 0 takes a free one",
  },
  { name: "api-key", kind: "text", value: "K", summary: "refuse requests without this key" },
  {
    name: "allow-image-urls",
    kind: "flag",
    summary: "fetch pictures that requests name by web address",
  },
  {
    name: "allow-origin",
    kind: "text",
    value: "ORIGIN",
    summary: "let pages of this site ask (CORS); *: of any site",
  },
  {
    name: "max-running",
    kind: "integer",
    min: 1,
    value: "N",
    summary: "answers written at the same time (16)",
  },
  {
    name: "max-waiting",
    kind: "integer",
    min: 1,
    value: "N",
    summary: "answers that wait for a place (64); more get status 429",
  },
  { name: "backend", kind: "text", choices: BACKEND_CHOICES, summary: "where to compute" },
];

/**
 * Parses the arguments of `serve`.
 *
 * @throws {UsageError}
 */
export function parseServeArguments(args: readonly string[]): ServeOptions {
  const parsed = parseOptions(args, options);
  return {
    model: required(parsed, "model"),
    adapter: parsed.text("adapter"),
    host: parsed.text("host") ?? "127.0.0.1",
    port: parsed.number("port") ?? 8000,
    apiKey: parsed.text("api-key"),
    allowImageUrls: parsed.flag("allow-image-urls"),
    allowOrigin: parsed.text("allow-origin"),
    running: parsed.number("max-running"),
    waiting: parsed.number("max-waiting"),
    backend: parsed.text("backend") as BackendChoice | undefined,
  };
}

/** Names of the models: the last parts of their paths. The adapter comes first. */
function modelsOf(asked: ServeOptions): Map<string, PassOptions> {
  const nameOf = (path: string) => basename(resolve(path));
  const base = nameOf(asked.model);
  if (asked.adapter === undefined) return new Map([[base, {}]]);
  const adapter = nameOf(asked.adapter);
  const baseName = adapter === base ? `${base}-base` : base;
  return new Map<string, PassOptions>([[adapter, {}], [baseName, { withoutAdapters: true }]]);
}

async function serve(asked: ServeOptions, signal: AbortSignal): Promise<void> {
  const { ChatServer } = await import("../src/serve/chat_server.ts");
  using opened = await openModel(asked, signal);
  const models = modelsOf(asked);
  const isLoopback = LOOPBACK.includes(asked.host) || asked.host === "::1";
  const limits = {
    ...(asked.running === undefined ? {} : { running: asked.running }),
    ...(asked.waiting === undefined ? {} : { waiting: asked.waiting }),
  };
  const { apiKey, allowImageUrls, allowOrigin } = asked;
  const chat = new ChatServer({
    loaded: opened.loaded,
    models,
    ...{ apiKey, allowImageUrls, allowOrigin, limits },
    hosts: isLoopback ? LOOPBACK : undefined,
  });
  const server = Deno.serve({
    hostname: asked.host,
    port: asked.port,
    onListen: ({ hostname, port }) => {
      const address = hostname.includes(":") ? `[${hostname}]` : hostname;
      console.error(`serving ${[...models.keys()].join(" and ")}`);
      console.error(`page: http://${address}:${port}/`);
      console.error(`chat API: http://${address}:${port}/v1`);
      if (!isLoopback && apiKey === undefined) {
        console.error("warning: other machines may ask without a key; --api-key KEY wants one");
      }
    },
  }, (request) => chat.handle(request));
  const ended = Promise.withResolvers<void>();
  signal.addEventListener("abort", () => ended.resolve(), { once: true });
  if (signal.aborted) ended.resolve();
  await ended.promise;
  // No new request is accepted; running answers are completed.
  await server.shutdown();
  await chat.idle();
}

/** The command. */
export const command: Command = {
  name: "serve",
  summary: "answer the OpenAI chat API with a model",
  usage: "--model DIR [--adapter DIR] [options]",
  options,
  onInterrupt: "finishing the answers under way",
  async run(args, { signal }) {
    const asked = parseServeArguments(args);
    await checkNamedPaths([
      ["--model", "model", asked.model],
      ...namedModel("--adapter", asked.adapter),
    ]);
    await serve(asked, signal);
    return 130;
  },
};
