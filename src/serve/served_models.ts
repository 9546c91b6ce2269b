/**
 * A base model with any number of adapters, each a model of its own under the name of its folder.
 *
 * @module
 */
import { basename, resolve } from "node:path";
import * as tf from "@tensorflow/tfjs";
import { type LoadedModel, loadModel } from "../generate/load_model.ts";
import { resolveModelFolder } from "../hub/model_folder.ts";
import { deviceAdapter } from "../model/device_adapter.ts";
import { readAdapter } from "../model/files/adapter_files.ts";
import type { OpenPretrainedOptions } from "../model/files/pretrained_folder.ts";
import type { PassOptions } from "../model/vlm.ts";
import type { Adapter } from "../model/weights_map.ts";

/** What a server answers with. It owns its tensors. */
export interface ServedModels extends Disposable {
  readonly loaded: LoadedModel;
  /** How each model is computed, by its name: the adapters in the order given, then the base. */
  readonly models: ReadonlyMap<string, PassOptions>;
}

const nameOf = (path: string) => basename(resolve(path));

/** A name that is not taken: NAME, NAME-2, … */
function freeName(name: string, taken: ReadonlyMap<string, unknown>): string {
  for (let count = 1;; count++) {
    const candidate = count === 1 ? name : `${name}-${count}`;
    if (!taken.has(candidate)) return candidate;
  }
}

/** An adapter's tensors on the device, by the name of their layer. */
async function loadAdapter(
  path: string,
  loaded: LoadedModel,
): Promise<ReadonlyMap<string, Adapter>> {
  const { adapters, trained } = await readAdapter(
    await resolveModelFolder(path),
    loaded.model.config,
  );
  if (trained.size > 0) {
    throw new Error(
      `Cannot serve ${path} beside its base model: it has weights trained in full ` +
        `(${[...trained.keys()].slice(0, 3).join(", ")}); merge it and serve the result`,
    );
  }
  return new Map([...adapters].map(([layer, adapter]) => [layer, deviceAdapter(adapter, 0)]));
}

function disposeAdapters(adapters: ReadonlyMap<string, Adapter>): void {
  for (const { loraA, loraB, magnitude } of adapters.values()) {
    tf.dispose([loraA, loraB, ...(magnitude === null ? [] : [magnitude])]);
  }
}

/**
 * Loads a model and adapters for it.
 *
 * @param model a folder or Hub id; a PEFT adapter's folder that names its base is one model alone
 * @param adapterPaths folders or Hub ids of PEFT adapters
 * @throws {Error} if a file is missing, damaged or does not fit, or an adapter replaces weights
 */
export async function openServedModels(
  model: string,
  adapterPaths: readonly string[],
  options: Omit<OpenPretrainedOptions, "adapter"> = {},
): Promise<ServedModels> {
  const loaded = await loadModel(model, options);
  const models = new Map<string, PassOptions>();
  const sets: ReadonlyMap<string, Adapter>[] = [];
  const dispose = () => {
    sets.forEach(disposeAdapters);
    loaded.model.dispose();
  };
  try {
    for (const path of adapterPaths) {
      const adapters = await loadAdapter(path, loaded);
      sets.push(adapters);
      models.set(freeName(nameOf(path), models), { adapters });
    }
  } catch (error) {
    dispose();
    throw error;
  }
  models.set(freeName(nameOf(model), models), {});
  return { loaded, models, [Symbol.dispose]: dispose };
}
