/**
 * The worker that runs a model: it loads the files, starts a backend and answers. `deno task
 * build-web` makes `nanovlm-worker.js` of it.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import { initBackend } from "../../device/backend.ts";
import { generateWithModel } from "../../generate/generate_with_model.ts";
import { parameterCount } from "../../model/model_weights.ts";
import type { Answer } from "../web_api.ts";
import type { FromWorker, ToWorker } from "./messages.ts";
import { SiteModel } from "./open_model.ts";
import { PartLoader } from "./part_loader.ts";
import { wasmFolder } from "./site_wasm.ts";

/** The parts of a worker's global object that are used; Deno's types have those of a page. */
interface WorkerScope {
  postMessage(message: FromWorker): void;
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
}

const scope = self as unknown as WorkerScope;
const running = new Map<number, AbortController>();
let model: SiteModel | null = null;
/** The request before; requests run one after the other. */
let before: Promise<void> = Promise.resolve();

async function load(request: ToWorker & { type: "load" }, signal: AbortSignal): Promise<void> {
  const { id } = request;
  // Tensors live in the memory of the single-threaded build, which our own kernels share.
  tf.env().set("WASM_HAS_MULTITHREAD_SUPPORT", false);
  setWasmPaths(wasmFolder, true);
  const backend = await initBackend({ backend: request.backend });
  const loader = await PartLoader.open({
    folder: new URL(request.folder),
    keep: request.keep,
    signal,
    onProgress: (progress) => scope.postMessage({ type: "progress", id, progress }),
  });
  model = await SiteModel.load(loader);
  const { totalBytes } = loader;
  scope.postMessage({
    type: "progress",
    id,
    progress: {
      stage: "start",
      loadedBytes: totalBytes,
      totalBytes,
      cachedBytes: totalBytes,
    },
  });
  if (backend.name === "webgpu") await compileShaders(model);
  await loader.forgetOthers();
  const { name, reason: backendReason } = backend;
  const parameters = parameterCount(model);
  scope.postMessage({
    type: "loaded",
    id,
    loaded: { name: model.name, backend: name, backendReason, parameters },
  });
}

/** Answers once for a grey picture, so that the first question does not wait for shaders. */
async function compileShaders(model: SiteModel): Promise<void> {
  const side = model.config.vit_img_size;
  const data = new Uint8Array(side * side * 3).fill(128);
  await generateWithModel(
    model,
    { prompt: "?", images: [{ width: side, height: side, data }] },
    { greedy: true, maxNewTokens: 2 },
  );
}

async function ask(request: ToWorker & { type: "ask" }, signal: AbortSignal): Promise<Answer> {
  if (model === null) throw new Error("Cannot answer: no model is loaded");
  const { temperature = 0, ...options } = request.options;
  const began = performance.now();
  const [{ text, tokens, finishReason }] = await generateWithModel(
    model,
    { prompt: request.messages, images: request.images },
    {
      ...options,
      greedy: temperature === 0,
      temperature: temperature === 0 ? 1 : temperature,
      signal,
      onText: (_, piece) => scope.postMessage({ type: "text", id: request.id, piece }),
    },
  );
  return {
    text,
    tokens,
    finishReason: signal.aborted ? "abort" : finishReason,
    seconds: (performance.now() - began) / 1000,
  };
}

async function serve(request: Exclude<ToWorker, { type: "abort" }>): Promise<void> {
  const { id } = request;
  const controller = running.get(id)!;
  try {
    if (request.type === "load") await load(request, controller.signal);
    else {
      const answer = await ask(request, controller.signal);
      scope.postMessage({ type: "answered", id, answer });
    }
  } catch (error) {
    const { name, message } = error instanceof Error
      ? error
      : { name: "Error", message: String(error) };
    scope.postMessage({ type: "failed", id, name, text: message });
  } finally {
    running.delete(id);
  }
}

scope.onmessage = ({ data }) => {
  if (data.type === "abort") {
    running.get(data.id)?.abort();
    return;
  }
  running.set(data.id, new AbortController());
  before = before.then(() => serve(data));
};
