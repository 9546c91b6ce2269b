/**
 * `serve`.
 *
 * @module
 */
import { BACKEND_CHOICES, type BackendChoice } from "../src/config/schema/device_backend.ts";
import { initBackend } from "../src/device/backend.ts";
import { readsPackedFast } from "../src/ops/half/packed_weight.ts";
import { openServedModels, type ServedModels } from "../src/serve/served_models.ts";
import { untilAborted } from "../src/until_aborted.ts";
import { type OptionSpec, parseOptions } from "./arguments.ts";
import type { Command } from "./command.ts";
import { listenError } from "./listen.ts";
import { checkNamedPaths, namedModel } from "./named_paths.ts";
import { required } from "./required.ts";

const LOOPBACK = ["localhost", "127.0.0.1", "[::1]"];

/** What `serve` was asked for. */
export interface ServeOptions {
  readonly model: string;
  /** Each is a model of its own. */
  readonly adapters: readonly string[];
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
    kind: "list",
    value: "DIR",
    summary: "a PEFT adapter, which is a model of its own; again for more",
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
    adapters: parsed.list("adapter"),
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

/** The backend and the models that the command line names. */
async function openModels(
  asked: ServeOptions,
  signal: AbortSignal,
): Promise<Disposable & { readonly served: ServedModels }> {
  const backend = await initBackend({ backend: asked.backend });
  console.error(`backend ${backend.reason}`);
  const loading = openServedModels(asked.model, asked.adapters, {
    onWarning: (text) => console.error(`warning: ${text}`),
    keepPacked: (_, format) => readsPackedFast(format),
    signal,
  });
  const served = await untilAborted(loading, signal, (late) => late[Symbol.dispose]());
  return {
    served,
    [Symbol.dispose]() {
      served[Symbol.dispose]();
      backend.dispose();
    },
  };
}

async function serve(asked: ServeOptions, signal: AbortSignal): Promise<void> {
  const { ChatServer } = await import("../src/serve/chat_server.ts");
  using opened = await openModels(asked, signal);
  const { models } = opened.served;
  const isLoopback = LOOPBACK.includes(asked.host) || asked.host === "::1";
  const limits = {
    ...(asked.running === undefined ? {} : { running: asked.running }),
    ...(asked.waiting === undefined ? {} : { waiting: asked.waiting }),
  };
  const { apiKey, allowImageUrls, allowOrigin } = asked;
  const chat = new ChatServer({
    loaded: opened.served.loaded,
    models,
    ...{ apiKey, allowImageUrls, allowOrigin, limits },
    hosts: isLoopback ? LOOPBACK : undefined,
  });
  const listen = () =>
    Deno.serve({
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
  let server: ReturnType<typeof listen>;
  try {
    server = listen();
  } catch (error) {
    throw listenError(error, asked.port);
  }
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
  usage: "--model DIR [--adapter DIR]… [options]",
  options,
  onInterrupt: "finishing the answers under way",
  async run(args, { signal }) {
    const asked = parseServeArguments(args);
    await checkNamedPaths([
      ["--model", "model", asked.model],
      ...asked.adapters.flatMap((path) => namedModel("--adapter", path)),
    ]);
    await serve(asked, signal);
    return 130;
  },
};
