import type { BackendChoice } from "../src/config/schema/device_backend.ts";
import { type ActiveBackend, initBackend } from "../src/device/backend.ts";
import { type LoadedModel, loadModel } from "../src/generate/load_model.ts";
import { readsPackedFast } from "../src/ops/half/packed_weight.ts";
import { untilAborted } from "../src/until_aborted.ts";

/** What a command asks a model with. */
export interface OpenedModel extends Disposable {
  readonly backend: ActiveBackend;
  readonly loaded: LoadedModel;
}

/** Where it computes, in plain words; `doctor` has the details. */
function backendLine({ name, adapterInfo }: ActiveBackend): string {
  if (name === "webgpu") {
    return `computing on the GPU${adapterInfo === null ? "" : `: ${adapterInfo.description}`}`;
  }
  return `computing on the CPU (${name}); deno task doctor says why`;
}

/**
 * The backend and the model that a command line names; prints the backend and warnings.
 *
 * @param signal ends it at once, with its reason as the error
 */
export async function openModel(
  asked: {
    readonly model: string;
    readonly adapter: string | undefined;
    readonly backend: BackendChoice | undefined;
  },
  signal: AbortSignal,
): Promise<OpenedModel> {
  const backend = await initBackend({ backend: asked.backend });
  console.error(backendLine(backend));
  const loading = loadModel(asked.model, {
    adapter: asked.adapter,
    onWarning: (text) => console.error(`warning: ${text}`),
    keepPacked: (_, format) => readsPackedFast(format),
    signal,
  });
  const loaded = await untilAborted(loading, signal, ({ model }) => model.dispose());
  return {
    backend,
    loaded,
    [Symbol.dispose]() {
      loaded.model.dispose();
      backend.dispose();
    },
  };
}
