/**
 * The module for pages: starts a worker, loads a model in it and asks it. `deno task build-web` makes
 * `nanovlm-web.js` of it.
 *
 * @module
 */
import type {
  Answer,
  AskOptions,
  LoadOptions,
  WebBackend,
  WebModel,
  WebQuestion,
} from "../web_api.ts";
import type { FromWorker, Loaded, ToWorker } from "./messages.ts";

interface Waiting {
  resolve(value: Loaded | Answer): void;
  reject(error: unknown): void;
  readonly onProgress?: LoadOptions["onProgress"];
  readonly onText?: AskOptions["onText"];
}

/** The worker and the requests that wait for its answers. */
class ModelWorker {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #count = 0;
  #ended: Error | null = null;

  constructor() {
    this.#worker = new Worker(new URL("./nanovlm-worker.js", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.#take(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      const reason = event.message || "its script cannot be loaded";
      this.end(new Error(`Cannot run the model's worker: ${reason}`));
    };
  }

  #take(message: FromWorker): void {
    const waiting = this.#waiting.get(message.id);
    if (waiting === undefined) return;
    if (message.type === "progress") return waiting.onProgress?.(message.progress);
    if (message.type === "text") return waiting.onText?.(message.piece);
    this.#waiting.delete(message.id);
    if (message.type === "failed") {
      waiting.reject(Object.assign(new Error(message.text), { name: message.name }));
    } else waiting.resolve(message.type === "loaded" ? message.loaded : message.answer);
  }

  /** Sends a request and waits for its answer. */
  request(
    make: (id: number) => ToWorker,
    more: Pick<Waiting, "onProgress" | "onText"> & { readonly signal?: AbortSignal },
  ): Promise<Loaded | Answer> {
    if (this.#ended !== null) return Promise.reject(this.#ended);
    const id = this.#count++;
    const { signal } = more;
    const { promise, resolve, reject } = Promise.withResolvers<Loaded | Answer>();
    this.#waiting.set(id, { ...more, resolve, reject });
    this.#worker.postMessage(make(id));
    const abort = () => this.#worker.postMessage({ type: "abort", id } satisfies ToWorker);
    signal?.addEventListener("abort", abort, { once: true });
    if (signal?.aborted) abort();
    return promise.finally(() => signal?.removeEventListener("abort", abort));
  }

  /** Ends the worker; requests that wait fail with that error. */
  end(error: Error): void {
    this.#ended = error;
    this.#worker.terminate();
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

async function bytesOf(image: Blob | ArrayBuffer | Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  if (image instanceof Blob) return new Uint8Array(await image.arrayBuffer());
  return image instanceof Uint8Array ? image.slice() : new Uint8Array(image.slice(0));
}

/**
 * Loads a model in a worker of this page.
 *
 * @throws {Error} if files are missing or damaged, or the backend that is asked for cannot start
 */
export async function loadModel(options: LoadOptions = {}): Promise<WebModel> {
  const { backend = "auto", cache = true, onProgress, signal } = options;
  signal?.throwIfAborted();
  const given = String(options.model ?? new URL("./model/", import.meta.url));
  const folder = new URL(given.endsWith("/") ? given : `${given}/`, globalThis.location?.href).href;
  const worker = new ModelWorker();
  let loaded: Loaded;
  try {
    loaded = await worker.request(
      (id) => ({ type: "load", id, folder, backend, keep: cache }),
      { onProgress, signal },
    ) as Loaded;
  } catch (error) {
    worker.end(new Error("Cannot ask the model: loading it failed"));
    signal?.throwIfAborted();
    throw error;
  }
  return {
    name: loaded.name,
    backend: loaded.backend as WebBackend,
    backendReason: loaded.backendReason,
    parameters: loaded.parameters,
    async ask({ prompt, images = [] }: WebQuestion, ask: AskOptions = {}): Promise<Answer> {
      const { onText, signal, ...options } = ask;
      const files = await Promise.all(images.map(bytesOf));
      const messages = typeof prompt === "string"
        ? [{ role: "user", content: prompt } as const]
        : prompt;
      return await worker.request(
        (id) => ({ type: "ask", id, messages, images: files, options }),
        { onText, signal },
      ) as Answer;
    },
    dispose: () => worker.end(new Error("Cannot ask the model: it was disposed")),
  };
}
