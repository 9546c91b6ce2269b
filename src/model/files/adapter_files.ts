/**
 * PEFT's adapter folders: `adapter_config.json` and `adapter_model.safetensors`, read, made and
 * written. Weights trained beside the adapter are stored as PEFT's `modules_to_save`.
 *
 * @module
 */

import { writeFolderAtomically, writeTextAtomically } from "../../atomic_write.ts";
import {
  formatLoraConfig,
  type LoraConfig,
  loraScaling,
  parseLoraConfig,
} from "./adapter_config.ts";
import {
  AdapterError,
  isSavedModule,
  matchTargetModules,
  modulesToSave,
} from "./adapter_targets.ts";
import type { VLMConfig } from "../../vlm_config.ts";
import { initializeLora, rowNorms } from "../initialize.ts";
import {
  type FloatTensor,
  type TensorToWrite,
  writeSafetensors,
} from "../safetensors/safetensors.ts";
import { SafetensorsFolder } from "../safetensors/folder.ts";
import { familyOf } from "../families/families.ts";
import type { ModelFamily } from "../families/model_family.ts";
import { expectedShapes, weightSpecs } from "../weight_shapes.ts";

export { defaultLoraConfig, type LoraConfig, loraScaling } from "./adapter_config.ts";
export { AdapterError, type AdapterTargets, matchTargetModules } from "./adapter_targets.ts";

/** The adapter of one linear layer, on the host. */
export interface HostAdapter {
  /** [r, in] */
  loraA: FloatTensor;
  /** [out, r] */
  loraB: FloatTensor;
  /** DoRA's magnitudes, [out]; null for LoRA. */
  magnitude: FloatTensor | null;
  /** lora_alpha / r, or / √r with rsLoRA. */
  scaling: number;
}

/** A whole adapter, on the host. */
export interface AdapterWeights {
  /** Its configuration. */
  config: LoraConfig;
  /** By the name of the layer, for example `decoder.blocks.0.attn.q_proj`. */
  adapters: Map<string, HostAdapter>;
  /** Weights trained in full beside it, by nanoVLM's names. */
  trained: Map<string, FloatTensor>;
  /**
   * The model has tied weights, and the adapter brings a head or an embedding of its own: with the
   * adapter they are two tensors. See {@linkcode untiedConfig}.
   */
  unties?: boolean;
}

/** The config of a model with an adapter on it: untied if the adapter unties it. */
export function untiedConfig(model: VLMConfig, adapter: AdapterWeights | null): VLMConfig {
  return adapter?.unties ? { ...model, lm_tie_weights: false } : model;
}

const PREFIX = "base_model.model.";
const ADAPTER_NAME = /^(.+)\.(lora_A\.weight|lora_B\.weight|lora_magnitude_vector)$/;

/** The file's tensors, sorted into adapters and trained weights. */
function sortTensors(
  folder: SafetensorsFolder,
  { toModelName }: Pick<ModelFamily, "toModelName">,
): { parts: Map<string, Map<string, FloatTensor>>; trained: Map<string, FloatTensor> } {
  const parts = new Map<string, Map<string, FloatTensor>>();
  const trained = new Map<string, FloatTensor>();
  for (const fileName of folder.names) {
    const name = toModelName(
      fileName.startsWith(PREFIX) ? fileName.slice(PREFIX.length) : fileName,
    );
    const match = ADAPTER_NAME.exec(name);
    if (match === null) trained.set(name, folder.readFloats(fileName));
    else {
      const part = parts.get(match[1]) ?? new Map<string, FloatTensor>();
      parts.set(match[1], part.set(match[2], folder.readFloats(fileName)));
    }
  }
  return { parts, trained };
}

/**
 * Reads an adapter folder of PEFT's and checks it against the base model.
 *
 * @throws {AdapterError} if a file is missing, it is no LoRA, or tensors do not fit the model
 * @throws {SafetensorsError} if the weights are damaged
 */
export async function readAdapter(path: string, model: VLMConfig): Promise<AdapterWeights> {
  const configPath = `${path}/adapter_config.json`;
  let value: unknown;
  try {
    value = JSON.parse(await Deno.readTextFile(configPath));
  } catch (error) {
    const reason = error instanceof Deno.errors.NotFound
      ? "there is no such file; an adapter folder has it and adapter_model.safetensors"
      : error instanceof Error
      ? error.message
      : String(error);
    throw new AdapterError(`Cannot read ${configPath}: ${reason}`, { cause: error });
  }
  const config = parseLoraConfig(value, configPath);
  using folder = await SafetensorsFolder.open(path, "adapter_model");
  const { modules } = matchTargetModules(model, config);
  const { parts, trained } = sortTensors(folder, familyOf(model));
  const unties = settleTiedWeights(path, model, config, trained);
  const whole = unties ? { ...model, lm_tie_weights: false } : model;
  const shapes = expectedShapes(whole);
  const fail = (what: string): never => {
    throw new AdapterError(`Cannot use the adapter ${path}: ${what}; is it of another model?`);
  };
  const check = (name: string, tensor: FloatTensor, shape: readonly number[]): void => {
    if (String(tensor.shape) !== String(shape)) {
      fail(`${name} is [${tensor.shape}], this model wants [${shape}]`);
    }
  };
  const adapters = new Map<string, HostAdapter>();
  for (const [module, part] of parts) {
    const shape = shapes.get(`${module}.weight`);
    if (shape === undefined) return fail(`the model has no layer ${module}`);
    const { r, scaling } = loraScaling(config, familyOf(model).toFileName(module));
    const take = (name: string, wanted: number[]): FloatTensor => {
      const tensor = part.get(name);
      if (tensor === undefined) return fail(`${module}.${name} is missing`);
      check(`${module}.${name}`, tensor, wanted);
      return tensor;
    };
    const [outputs, inputs] = shape;
    if (!config.use_dora && part.has("lora_magnitude_vector")) {
      fail(`${module}.lora_magnitude_vector is there, but use_dora is false`);
    }
    adapters.set(module, {
      loraA: take("lora_A.weight", [r, inputs]),
      loraB: take("lora_B.weight", [outputs, r]),
      magnitude: config.use_dora ? take("lora_magnitude_vector", [outputs]) : null,
      scaling,
    });
  }
  const fileShapes = new Map(
    weightSpecs(whole).map((spec) => [
      spec.name,
      familyOf(whole).fileTensor(whole, spec).shape ?? spec.shape,
    ]),
  );
  for (const [name, tensor] of trained) {
    const shape = fileShapes.get(name);
    if (shape === undefined) return fail(`the model has no tensor ${name}`);
    if (!isSavedModule(config.modules_to_save, familyOf(whole).toFileName(name))) {
      fail(`${name} is there, but modules_to_save does not name it, so that PEFT ignores it`);
    }
    check(name, tensor, shape);
    trained.set(name, { ...tensor, shape: [...shapes.get(name) ?? shape] });
  }
  const missing = modules.find((module) => !adapters.has(module));
  if (missing !== undefined) {
    fail(`target_modules matches ${missing}, but the file has nothing for it`);
  }
  const unmatched = [...adapters.keys()].find((module) => !modules.includes(module));
  if (unmatched !== undefined) {
    fail(`it has ${unmatched}, which target_modules does not match, so that PEFT ignores it`);
  }
  return { config, adapters, trained, unties };
}

const HEAD = "decoder.head.weight", TABLE = "decoder.token_embedding.weight";

/**
 * Saved weights of a model whose head and embedding are one tensor. PEFT copies a saved module: a
 * head or an embedding alone is untied by that; a saved decoder keeps the two tied within itself.
 *
 * @param trained changed: without the second name of a tied tensor
 * @returns whether the adapter unties the model
 * @throws {AdapterError} if a saved decoder has two different tensors
 */
function settleTiedWeights(
  path: string,
  model: VLMConfig,
  config: LoraConfig,
  trained: Map<string, FloatTensor>,
): boolean {
  const head = trained.get(HEAD), table = trained.get(TABLE);
  if (!model.lm_tie_weights || (head === undefined && table === undefined)) return false;
  const { toFileName } = familyOf(model);
  const keepsTie = config.modules_to_save?.some((end) => toFileName("decoder").endsWith(end));
  if (!keepsTie) return true;
  const one = head ?? table!, other = table ?? head!;
  if (one.data.some((value, i) => value !== other.data[i])) {
    throw new AdapterError(
      `Cannot use the adapter ${path}: modules_to_save holds the whole decoder, whose head and ` +
        "token embedding are tied in this model, but the file has two different tensors for them",
    );
  }
  trained.set(HEAD, one);
  trained.delete(TABLE);
  return false;
}

/** A fresh adapter, and warnings about its `target_modules`. */
export interface FreshAdapter extends AdapterWeights {
  /** A line for each name that matches nothing. */
  warnings: string[];
}

/**
 * A fresh adapter: A drawn, B 0, DoRA's magnitudes the row norms of the base weights.
 *
 * @param readWeight a weight of the model by nanoVLM's name, asked for only by DoRA
 * @throws {AdapterError} if target_modules matches nothing, or no linear layer
 */
export async function initializeAdapter(
  model: VLMConfig,
  config: LoraConfig,
  seed: number,
  readWeight: (name: string) => Float32Array | Promise<Float32Array>,
): Promise<FreshAdapter> {
  const { modules, warnings } = matchTargetModules(model, config);
  const shapes = expectedShapes(model);
  const adapters = new Map<string, HostAdapter>();
  for (const module of modules) {
    const shape = shapes.get(`${module}.weight`) ?? [];
    const { r, scaling } = loraScaling(config, familyOf(model).toFileName(module));
    const pair = initializeLora(module, shape, r, seed, config.init_lora_weights);
    let magnitude: FloatTensor | null = null;
    if (config.use_dora) {
      const weight = await readWeight(`${module}.weight`);
      magnitude = { shape: [shape[0]], dtype: "F32", data: rowNorms(weight, shape[0]) };
    }
    adapters.set(module, { ...pair, magnitude, scaling });
  }
  return { config, adapters, trained: new Map(), warnings };
}

/** A tensor to save; `data` may be a function, called just before it is written. */
export type TensorData = Pick<TensorToWrite, "shape" | "data">;

/** What {@linkcode saveAdapterFolder} writes. */
export interface AdapterToSave {
  /** Its configuration; `modules_to_save` is worked out from `trained`. */
  config: LoraConfig;
  /** A, B and magnitudes by the name of the layer. */
  adapters: ReadonlyMap<
    string,
    { loraA: TensorData; loraB: TensorData; magnitude: TensorData | null }
  >;
  /** Weights trained in full beside it, by nanoVLM's names. */
  trained?: ReadonlyMap<string, TensorData>;
}

/**
 * Writes adapter_config.json and adapter_model.safetensors into an existing folder that no
 * reader uses yet.
 *
 * @throws {AdapterError} if a trained weight cannot travel in PEFT's format
 * @throws {SaveError} if the disk is full, read-only or forbidden
 */
export async function writeAdapterFiles(
  folder: string,
  model: VLMConfig,
  adapter: AdapterToSave,
): Promise<void> {
  const { adapters, trained = new Map<string, TensorData>() } = adapter;
  const saved = modulesToSave(model, trained.keys(), adapters.keys());
  const tensors: TensorToWrite[] = [];
  const add = (name: string, { shape, data }: TensorData): void => {
    tensors.push({ name: `${PREFIX}${toFileName(name)}`, shape, data, dtype: "F32" });
  };
  const { toFileName, fileTensor } = familyOf(model);
  const fileShapes = new Map(
    weightSpecs(model).map((spec) => [spec.name, fileTensor(model, spec).shape]),
  );
  for (const [module, { loraA, loraB, magnitude }] of adapters) {
    add(`${module}.lora_A.weight`, loraA);
    add(`${module}.lora_B.weight`, loraB);
    if (magnitude !== null) add(`${module}.lora_magnitude_vector`, magnitude);
  }
  for (const [name, { shape, data }] of trained) {
    add(name, { shape: fileShapes.get(name) ?? shape, data });
  }
  await writeSafetensors(`${folder}/adapter_model.safetensors`, tensors, {
    metadata: { format: "pt" },
  });
  await writeTextAtomically(
    `${folder}/adapter_config.json`,
    formatLoraConfig({ ...adapter.config, modules_to_save: saved }),
  );
}

/**
 * Saves an adapter as PEFT's `save_pretrained` does. The folder is replaced as a whole or not at
 * all; other files in it stay.
 *
 * @throws {AdapterError} if a trained weight cannot travel in PEFT's format
 * @throws {SaveError} if the disk is full, read-only or forbidden
 */
export async function saveAdapterFolder(
  folder: string,
  model: VLMConfig,
  adapter: AdapterToSave,
): Promise<void> {
  await writeFolderAtomically(
    folder,
    (temporary) => writeAdapterFiles(temporary, model, adapter),
    { existing: "update", last: "adapter_config.json" },
  );
}
