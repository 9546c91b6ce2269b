/**
 * Reads weights of nanoVLM folders, checked against the config, and writes them.
 *
 * @module
 */

import { explainWriteError, writeFolderAtomically } from "../../atomic_write.ts";
import type { VLMConfig } from "../../vlm_config.ts";
import { familyOf } from "../families/families.ts";
import {
  type FloatTensor,
  SafetensorsError,
  type TensorToWrite,
} from "../safetensors/safetensors.ts";
import { SafetensorsFolder, writeSafetensorsFolder } from "../safetensors/folder.ts";
import { type PackedHostWeights, packExactly } from "../packed_weights.ts";
import { type ModelPart, type WeightSpec, weightSpecs } from "../weight_shapes.ts";

/** Weights that do not fit the config; the message names tensor, got, wanted and keys. */
export class WeightsError extends Error {
  override name = "WeightsError";
}

const HEAD = "decoder.head.weight";
const EMBEDDING = "decoder.token_embedding.weight";

/** Up to five names, and how many more there are. */
function some(names: readonly string[]): string {
  const more = names.length - 5;
  return names.slice(0, 5).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

/** Choices of {@linkcode openWeights}. */
export interface LoadWeightsOptions {
  /** Only these parts of the model are wanted; others in the file are ignored. */
  parts?: readonly ModelPart[];
}

/** Weights whose names and shapes have been checked, read one at a time. */
export interface OpenWeights extends Disposable {
  /** The model's tensors, in the order of its modules. */
  readonly specs: readonly WeightSpec[];
  /** Reads one, as float32, by nanoVLM's name. */
  read(name: string): FloatTensor;
  /**
   * Reads one in 16 bits if the file stores it so, or if each of its float32 numbers is one of
   * 16 bits, as after a conversion; else as float32. Nothing is rounded.
   */
  readPacked(name: string): FloatTensor | PackedHostWeights;
  /** Closes the files. */
  close(): void;
}

/**
 * Opens a folder's weights and checks every name and shape against the config before anything is
 * read. With tied weights the file may have the tensor as `decoder.head.weight` or as
 * `decoder.token_embedding.weight`; here it is the former.
 *
 * @param path a folder with model.safetensors or shards, or one .safetensors file
 * @throws {WeightsError} if tensors are missing, unexpected, or of another shape
 * @throws {SafetensorsError} if a file is missing or damaged
 */
export async function openWeights(
  path: string,
  config: VLMConfig,
  options: LoadWeightsOptions = {},
): Promise<OpenWeights> {
  const folder = await SafetensorsFolder.open(path);
  try {
    const specs = weightSpecs(config, options.parts);
    const source = matchNames(folder, config, specs, options.parts);
    checkShapes(folder, config, specs, source);
    checkTiedTensors(folder, config, specs);
    const shapes = new Map(specs.map(({ name, shape }) => [name, shape]));
    // A file may have other dims for the same elements.
    const shaped = <T extends { shape: readonly number[] }>(name: string, tensor: T): T => ({
      ...tensor,
      shape: shapes.get(name) ?? tensor.shape,
    });
    return {
      specs,
      read: (name) => shaped(name, folder.readFloats(source.get(name) ?? name)),
      readPacked: (name) => shaped(name, readPacked(folder, source.get(name) ?? name)),
      close: () => folder.close(),
      [Symbol.dispose]: () => folder.close(),
    };
  } catch (error) {
    folder.close();
    throw error;
  }
}

function readPacked(folder: SafetensorsFolder, name: string): FloatTensor | PackedHostWeights {
  const { dtype, shape } = folder.entry(name);
  if (dtype === "F16" || dtype === "BF16") {
    const { bytes } = folder.readRaw(name);
    return { shape, format: dtype, bits: new Uint16Array(bytes.buffer as ArrayBuffer) };
  }
  const floats = folder.readFloats(name);
  return packExactly(floats) ?? floats;
}

/** A tied tensor may be stored under both of its names, but then it is the same one. */
function checkTiedTensors(
  folder: SafetensorsFolder,
  config: VLMConfig,
  specs: readonly WeightSpec[],
): void {
  const family = familyOf(config);
  for (const spec of specs) {
    const { name, aliases = [] } = family.fileTensor(config, spec);
    const [first, second] = [name, ...aliases].filter((each) => folder.has(each));
    if (second === undefined) continue;
    const a = folder.readRaw(first).bytes, b = folder.readRaw(second).bytes;
    if (a.length === b.length && a.every((byte, i) => byte === b[i])) continue;
    throw new WeightsError(
      `Cannot load the weights in ${folder.path}: lm_tie_weights is true, so that ${first} and ` +
        `${second} are one tensor, but the file has two different ones; set lm_tie_weights to ` +
        `false to keep both, or remove one of them`,
    );
  }
}

/** Names in the file by the model's names. */
function matchNames(
  folder: SafetensorsFolder,
  config: VLMConfig,
  specs: readonly WeightSpec[],
  parts?: readonly ModelPart[],
): Map<string, string> {
  const family = familyOf(config);
  const source = new Map<string, string>();
  const missing: string[] = [];
  for (const spec of specs) {
    const { name, aliases = [] } = family.fileTensor(config, spec);
    const found = [name, ...aliases].find((each) => folder.has(each));
    if (found === undefined) missing.push(name);
    else source.set(spec.name, found);
  }
  const used = new Set([...source.values(), ...family.ignoredTensors(config)]);
  const unexpected = folder.names.filter((name) =>
    !used.has(name) &&
    (parts === undefined ||
      parts.some((part) => family.toModelName(name).startsWith(`${part}.`)))
  );
  if (missing.length === 0 && unexpected.length === 0) return source;

  const wantsTie = missing.length === 1 && missing[0] === EMBEDDING;
  const isAdapter = folder.names.some((name) => name.startsWith("base_model."));
  const isBackbone = folder.names.some((name) => /^(model\.layers|vision_model)\./.test(name));
  const hint = isAdapter
    ? "it is an adapter: give it as --adapter, with its base model as --model"
    : isBackbone
    ? "it is a backbone of Transformers: make a nanoVLM folder of it with convert"
    : wantsTie
    ? "its head and embedding are one tensor: set lm_tie_weights to true"
    : unexpected.length === 1 && unexpected[0] === EMBEDDING
    ? "its head and embedding are two tensors: set lm_tie_weights to false"
    : "lm_n_blocks, vit_n_blocks, vit_cls_flag and lm_tie_weights decide which there are";
  const parts_ = [
    ...(missing.length > 0 ? [`${missing.length} tensors are missing (${some(missing)})`] : []),
    ...(unexpected.length > 0
      ? [`${unexpected.length} have no place in this config (${some(unexpected)})`]
      : []),
  ];
  throw new WeightsError(
    `Cannot load the weights in ${folder.path}: ${parts_.join(" and ")}; ${hint}`,
  );
}

function checkShapes(
  folder: SafetensorsFolder,
  config: VLMConfig,
  specs: readonly WeightSpec[],
  source: ReadonlyMap<string, string>,
): void {
  const family = familyOf(config);
  const wrong: string[] = [];
  for (const spec of specs) {
    const { keys } = spec;
    const name = source.get(spec.name) ?? spec.name;
    const shape = family.fileTensor(config, spec).shape ?? spec.shape;
    const got = folder.entry(name).shape;
    if (got.length !== shape.length || got.some((dim, i) => dim !== shape[i])) {
      wrong.push(`${name} is [${got}], the config wants [${shape}] (by ${keys.join(", ")})`);
    }
  }
  if (wrong.length > 0) {
    const more = wrong.length > 3 ? `; and ${wrong.length - 3} more` : "";
    throw new WeightsError(
      `Cannot load the weights in ${folder.path}: ${wrong.slice(0, 3).join("; ")}${more}. ` +
        `Give the config.json that these weights were saved with`,
    );
  }
}

/**
 * Reads a folder's weights, one tensor at a time, all of them checked beforehand.
 *
 * @param path a folder with model.safetensors or shards, or one .safetensors file
 * @returns pairs of nanoVLM's name and the tensor as float32, in the order of the modules
 * @throws {WeightsError} if tensors are missing, unexpected, or of another shape
 * @throws {SafetensorsError} if a file is missing or damaged
 */
export async function* loadWeights(
  path: string,
  config: VLMConfig,
  options: LoadWeightsOptions = {},
): AsyncGenerator<[name: string, tensor: FloatTensor]> {
  using weights = await openWeights(path, config, options);
  for (const { name } of weights.specs) yield [name, weights.read(name)];
}

/**
 * A tensor to save; `data` may be a function, called just before it is written.
 * `dtype` if it differs from that of the whole file.
 */
export type WeightToSave = Pick<TensorToWrite, "name" | "shape" | "data" | "dtype">;

/** Choices of {@linkcode saveModelFolder}. */
export interface SaveModelOptions {
  /** How floats are stored; F32 by default. */
  dtype?: "F32" | "F16" | "BF16";
  /** Writes tokenizer and image processor files into the temporary folder. */
  writeOtherFiles?: (folder: string) => void | Promise<void>;
  /** Data bytes above which shards are made (which Python's nanoVLM does not read); 5 GB. */
  shardBytes?: number;
}

/**
 * Writes weights and config.json into an existing folder that no reader uses yet.
 *
 * @throws {WeightsError} if the tensors are not those of the config
 * @throws {SaveError} if the disk is full, read-only or forbidden
 */
export async function writeModelFiles(
  folder: string,
  config: VLMConfig,
  tensors: Iterable<WeightToSave>,
  options: SaveModelOptions = {},
): Promise<void> {
  const given = new Map([...tensors].map((tensor) => [tensor.name, tensor]));
  if (config.lm_tie_weights && given.has(EMBEDDING)) {
    const embedding = given.get(EMBEDDING);
    given.delete(EMBEDDING);
    if (embedding && !given.has(HEAD)) given.set(HEAD, { ...embedding, name: HEAD });
  }
  const specs = weightSpecs(config);
  const names = new Set(specs.map(({ name }) => name));
  for (const { name, shape, keys } of specs) {
    const got = given.get(name)?.shape;
    if (got === undefined || String(got) !== String(shape)) {
      throw new WeightsError(
        `Cannot save the model: ${name} is ${got === undefined ? "missing" : `[${got}]`}, ` +
          `the config wants [${shape}] (by ${keys.join(", ")})`,
      );
    }
  }
  const family = familyOf(config);
  const ignored = family.ignoredTensors(config).map((name) => family.toModelName(name));
  const extra = [...given.keys()].filter((name) => !names.has(name) && !ignored.includes(name));
  if (extra.length > 0) {
    throw new WeightsError(`Cannot save the model: it has no place for ${some(extra)}`);
  }
  const list: TensorToWrite[] = specs.map((spec) => {
    const { name, shape = spec.shape } = family.fileTensor(config, spec);
    const tensor = given.get(spec.name);
    // Checked just above.
    return { name, shape, dtype: tensor?.dtype, data: tensor?.data ?? new Float32Array(0) };
  });
  list.push(...family.extraTensors(config));
  await writeSafetensorsFolder(folder, list, {
    dtype: options.dtype,
    shardBytes: options.shardBytes,
    metadata: family.metadata(config),
  });
  try {
    await Deno.writeTextFile(
      `${folder}/config.json`,
      family.formatConfig(config, options.dtype ?? "F32"),
    );
  } catch (error) {
    throw explainWriteError(error, `${folder}/config.json`);
  }
  await options.writeOtherFiles?.(folder);
}

/**
 * Saves a model in the files of its family: config.json, model.safetensors with one tensor for tied
 * weights, and whatever `writeOtherFiles` adds. The
 * folder is replaced as a whole or not at all; other files in it stay.
 *
 * @throws {WeightsError} if the tensors are not those of the config
 * @throws {SaveError} if the disk is full, read-only or forbidden
 */
export async function saveModelFolder(
  folder: string,
  config: VLMConfig,
  tensors: Iterable<WeightToSave>,
  options: SaveModelOptions = {},
): Promise<void> {
  await writeFolderAtomically(
    folder,
    (temporary) => writeModelFiles(temporary, config, tensors, options),
    { existing: "update", last: "config.json" },
  );
}

export { expectedShapes, inverseFrequencies, weightSpecs } from "../weight_shapes.ts";
export { readConfig } from "./config_file.ts";
export { SafetensorsError };
