/**
 * The interface of `nanovlm-web.js`. `export web` writes this file as `nanovlm-web.d.ts`, with the
 * declaration of `loadModel()`, so it imports nothing and has types alone.
 *
 * @module
 */

/** Where a model runs in a browser. */
export type WebBackend = "webgpu" | "wasm";

/** How far loading is. */
export interface LoadProgress {
  /** `download`: files arrive or are read from the cache. `start`: the model is being started. */
  readonly stage: "download" | "start";
  /** Bytes that are here. */
  readonly loadedBytes: number;
  /** Bytes of all files. */
  readonly totalBytes: number;
  /** Of `loadedBytes`, those that came from the browser's cache. */
  readonly cachedBytes: number;
}

/** How to load a model. */
export interface LoadOptions {
  /** Address of the folder with model.json; default: `model/` beside this module. */
  readonly model?: string | URL;
  /** `auto`, the default: WebGPU on a hardware adapter, else wasm. */
  readonly backend?: "auto" | WebBackend;
  /** Keep the files in the browser's cache, default true. */
  readonly cache?: boolean;
  /** Called as files arrive. */
  readonly onProgress?: (progress: LoadProgress) => void;
  /** Cancels loading; its reason is thrown. What has arrived stays in the cache. */
  readonly signal?: AbortSignal;
}

/** One message of a conversation. */
export interface WebMessage {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
}

/** A question about pictures. */
export interface WebQuestion {
  /** What the user says, or a conversation up to the answer. */
  readonly prompt: string | readonly WebMessage[];
  /** PNG, JPEG, GIF, WebP, BMP or TIFF files; they come before the first user message. */
  readonly images?: readonly (Blob | ArrayBuffer | Uint8Array)[];
}

/** How to answer. */
export interface AskOptions {
  /** Longest answer in tokens, default 256. */
  readonly maxNewTokens?: number;
  /** Default 0: the likeliest token each time. */
  readonly temperature?: number;
  /** Nucleus sampling; default 1: off. */
  readonly topP?: number;
  /** Only the k likeliest tokens; default 0: off. */
  readonly topK?: number;
  /** Seed of sampling, default 0. */
  readonly seed?: number;
  /** Texts that end the answer; they are not part of it. */
  readonly stop?: readonly string[];
  /** Called with each piece of the answer as soon as it is final. */
  readonly onText?: (piece: string) => void;
  /** Ends the answer after the current token; what was written is returned. */
  readonly signal?: AbortSignal;
}

/** An answer. */
export interface Answer {
  readonly text: string;
  /** Token ids, the end token included. */
  readonly tokens: readonly number[];
  /** Why it ended: `eos` by an end token, `stop` by a stop text, `length` by `maxNewTokens`. */
  readonly finishReason: "eos" | "stop" | "length" | "abort";
  readonly seconds: number;
}

/** A model that runs in a worker of this page. Pictures and texts are sent nowhere. */
export interface WebModel {
  readonly name: string;
  readonly backend: WebBackend;
  /** A sentence that says why that backend runs. */
  readonly backendReason: string;
  /** Numbers in all weights. */
  readonly parameters: number;
  /** Answers one question; questions wait for each other. */
  ask(question: WebQuestion, options?: AskOptions): Promise<Answer>;
  /** Ends the worker and frees its memory. Answers under way are rejected. */
  dispose(): void;
}
