/**
 * The HTTP server of `serve`: OpenAI's chat API over a model, with `/health` and `/metrics`.
 *
 * @module
 */
import type { PromptImage } from "../generate/generate_text.ts";
import type { LoadedModel } from "../generate/load_model.ts";
import type { PassOptions } from "../model/vlm.ts";
import { ApiError } from "./api_error.ts";
import { ChatEngine } from "./chat_engine.ts";
import {
  type ChatRequest,
  type PictureSource,
  readChatRequest,
  readPicture,
} from "./chat_request.ts";
import { answerChat } from "./chat_response.ts";
import { fetchPicture, readAtMost } from "./fetch_picture.ts";
import { chatPage } from "./page/chat_page.ts";
import { PictureStore } from "./picture_store.ts";
import { seenTiles } from "../inspect/seen_tiles.ts";
import { ServerMetrics } from "./server_metrics.ts";

/** Bounds of a server. */
export interface ServerLimits {
  /** Answers that are written at the same time. */
  readonly running: number;
  /** Answers that wait for a place; more get status 429. */
  readonly waiting: number;
  /** Bytes of a body or of a fetched picture. */
  readonly bodyBytes: number;
  /** Pictures of a request. */
  readonly pictures: number;
  /** Answers of a request. */
  readonly answers: number;
}

/** The limits of a server that is not told otherwise. */
export const DEFAULT_LIMITS: ServerLimits = {
  running: 16,
  waiting: 64,
  bodyBytes: 20 * 2 ** 20,
  pictures: 8,
  answers: 8,
};

/** What is served, and to whom. */
export interface ChatServerOptions {
  /** Stays the caller's. */
  readonly loaded: LoadedModel;
  /** How each model is computed, by its name; the first one answers requests that name none. */
  readonly models: ReadonlyMap<string, PassOptions>;
  /** The key that every request must have; undefined: no key is needed. */
  readonly apiKey?: string;
  /** Whether pictures may be web addresses. */
  readonly allowImageUrls?: boolean;
  /** Value of `access-control-allow-origin`; undefined: no other site may ask. */
  readonly allowOrigin?: string;
  /** Host names that requests may be addressed to; undefined: any. */
  readonly hosts?: readonly string[];
  readonly limits?: Partial<ServerLimits>;
}

/** Compares without telling by its time how much is equal. */
async function isSameSecret(a: string, b: string): Promise<boolean> {
  const digest = async (text: string) =>
    new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  const [first, second] = await Promise.all([digest(a), digest(b)]);
  let difference = 0;
  first.forEach((byte, i) => difference |= byte ^ second[i]);
  return difference === 0;
}

/** Answers HTTP requests about one model and its adapters. */
export class ChatServer {
  readonly #options: ChatServerOptions;
  readonly #limits: ServerLimits;
  readonly #engine: ChatEngine;
  readonly #pictures: PictureStore;
  readonly #metrics: ServerMetrics;
  readonly #created = Math.floor(Date.now() / 1000);

  constructor(options: ChatServerOptions) {
    this.#options = options;
    const limits = { ...DEFAULT_LIMITS, ...options.limits };
    // More answers than may wait would be refused for ever.
    this.#limits = { ...limits, answers: Math.min(limits.answers, limits.waiting) };
    this.#engine = new ChatEngine(options.loaded, options.models, this.#limits);
    this.#pictures = new PictureStore(options.loaded.imageProcessor);
    this.#metrics = new ServerMetrics(this.#engine);
  }

  /** Resolves when no answer is being written or waits. */
  idle(): Promise<void> {
    return this.#engine.idle();
  }

  /** Answers a request; it never throws. */
  async handle(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    const route = this.#routes.get(pathname);
    let response: Response;
    try {
      this.#checkHost(request);
      if (request.method === "OPTIONS") response = new Response(null, { status: 204 });
      else if (route === undefined) throw new ApiError(404, `there is no ${pathname} here`);
      else if (request.method !== route.method) {
        throw new ApiError(405, `${pathname} wants ${route.method}, not ${request.method}`);
      } else {
        if (route.isGuarded) await this.#checkKey(request);
        response = await route.answer(request);
      }
    } catch (error) {
      response = errorResponse(error);
    }
    this.#metrics.countRequest(route === undefined ? "other" : pathname, response.status);
    this.#addCors(response.headers);
    return response;
  }

  readonly #routes: ReadonlyMap<string, {
    readonly method: string;
    readonly isGuarded: boolean;
    readonly answer: (request: Request) => Response | Promise<Response>;
  }> = new Map([
    ["/", { method: "GET", isGuarded: false, answer: () => this.#showPage() }],
    ["/api/tiles", {
      method: "POST",
      isGuarded: true,
      answer: (request: Request) => this.#showTiles(request),
    }],
    ["/v1/models", {
      method: "GET",
      isGuarded: true,
      answer: () => Response.json({ object: "list", data: this.#modelList() }),
    }],
    ["/v1/chat/completions", {
      method: "POST",
      isGuarded: true,
      answer: (request: Request) => this.#chat(request),
    }],
    ["/health", {
      method: "GET",
      isGuarded: false,
      answer: () => Response.json({ status: "ok" }),
    }],
    ["/metrics", {
      method: "GET",
      isGuarded: true,
      answer: () => this.#metrics.response(),
    }],
  ]);

  #modelList(): readonly unknown[] {
    return [...this.#options.models.keys()].map((id) => ({
      id,
      object: "model",
      created: this.#created,
      owned_by: "nanovlm",
    }));
  }

  /** A page of another site that gave its own name this machine's address must not ask here. */
  #checkHost(request: Request): void {
    const { hosts } = this.#options;
    const { hostname } = new URL(`http://${request.headers.get("host") ?? "localhost"}`);
    if (hosts === undefined || hosts.includes(hostname)) return;
    throw new ApiError(
      403,
      `requests for the host ${hostname} are refused; start the server with --host ${hostname}`,
    );
  }

  async #checkKey(request: Request): Promise<void> {
    const { apiKey } = this.#options;
    if (apiKey === undefined) return;
    const given = /^Bearer (.*)$/.exec(request.headers.get("authorization") ?? "")?.[1];
    if (given !== undefined && await isSameSecret(given, apiKey)) return;
    throw new ApiError(
      401,
      given === undefined
        ? "the request has no API key; want the header authorization: Bearer KEY"
        : "the API key is not this server's",
      { code: "invalid_api_key" },
    );
  }

  #addCors(headers: Headers): void {
    const { allowOrigin } = this.#options;
    if (allowOrigin === undefined) return;
    headers.set("access-control-allow-origin", allowOrigin);
    headers.set("access-control-allow-headers", "authorization, content-type");
    headers.set("access-control-allow-methods", "GET, POST");
    headers.append("vary", "origin");
  }

  async #showPage(): Promise<Response> {
    const { html, policy } = await chatPage();
    return new Response(html, {
      headers: {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
      },
    });
  }

  async #showTiles(request: Request): Promise<Response> {
    const source = readPicture(await this.#readJson(request));
    const [image] = await this.#readPictures([source]);
    return Response.json(seenTiles(image, this.#options.loaded.imageProcessor));
  }

  async #chat(request: Request): Promise<Response> {
    const asked = readChatRequest(await this.#readJson(request), this.#limits);
    const images = await this.#readPictures(asked.pictures);
    return await answerChat(
      this.#engine,
      {
        prompt: this.#promptOf(asked, images),
        stream: asked.stream,
        includeUsage: asked.includeUsage,
      },
      request.signal,
      (numbers) => this.#metrics.countAnswer(numbers),
    );
  }

  #promptOf(asked: ChatRequest, images: readonly PromptImage[]) {
    const [first] = this.#options.models.keys();
    return {
      model: asked.model ?? first,
      messages: asked.messages,
      images,
      sampling: {
        greedy: asked.temperature === 0,
        temperature: asked.temperature === 0 ? 1 : asked.temperature,
        topP: asked.topP,
        topK: asked.topK,
        repetitionPenalty: asked.repetitionPenalty,
      },
      seed: asked.seed ?? crypto.getRandomValues(new Uint32Array(1))[0],
      n: asked.n,
      maxTokens: asked.maxTokens,
      stop: asked.stop,
      topLogProbs: asked.logprobs ? asked.topLogprobs : null,
    };
  }

  async #readJson(request: Request): Promise<unknown> {
    const { bodyBytes } = this.#limits;
    const tooLarge = () =>
      new ApiError(413, `the body has more than ${bodyBytes} bytes`, { code: "body_too_large" });
    if (Number(request.headers.get("content-length") ?? 0) > bodyBytes) throw tooLarge();
    const bytes = request.body === null
      ? new Uint8Array()
      : await readAtMost(request.body, bodyBytes, tooLarge).catch((error) => {
        throw error instanceof ApiError
          ? error
          : new ApiError(499, "the client broke off the body");
      });
    try {
      return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    } catch {
      throw new ApiError(400, "the body is not JSON", { code: "invalid_json" });
    }
  }

  async #readPictures(sources: readonly PictureSource[]): Promise<PromptImage[]> {
    return await Promise.all(sources.map(async (source) => {
      if ("bytes" in source) return await this.#pictures.get(source.bytes);
      if (this.#options.allowImageUrls !== true) {
        throw new ApiError(
          400,
          "pictures from web addresses are off; send data:image/…;base64,… or start the server " +
            "with --allow-image-urls",
          { code: "image_urls_off", param: "messages" },
        );
      }
      return await this.#pictures.get(await fetchPicture(source.url, this.#limits.bodyBytes));
    }));
  }
}

function errorResponse(error: unknown): Response {
  if (error instanceof ApiError) {
    // OpenAI's clients wait as long before they ask again by themselves.
    const headers: HeadersInit = error.status === 429 ? { "retry-after": "1" } : {};
    return Response.json(error.body, { status: error.status, headers });
  }
  console.error(error);
  const { body } = new ApiError(500, "the server failed; its log says why");
  return Response.json(body, { status: 500 });
}
