/**
 * A fixture set's models and tensors, for the cases that run the model.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { ModelInputs } from "../model/batch.ts";
import { defaultVLMConfig, type VLMConfig } from "../vlm_config.ts";
import { type HostTensor, readSafetensors } from "../model/safetensors/safetensors.ts";
import { VisionLanguageModel } from "../generate/vision_language_model.ts";

/** Tensors of a fixture file by name. */
export type Fixture = Map<string, HostTensor>;

/** The floats of a fixture tensor. */
export function floats(fixture: Fixture, name: string): Float32Array {
  const data = fixture.get(name)?.data;
  if (!(data instanceof Float32Array)) throw new Error(`The fixture has no floats named ${name}`);
  return data;
}

/** A fixture matrix of ids as rows. */
export function idRows(fixture: Fixture, name: string): Int32Array[] {
  const tensor = fixture.get(name);
  if (!(tensor?.data instanceof Int32Array)) {
    throw new Error(`The fixture has no ids named ${name}`);
  }
  const [rows, columns] = tensor.shape;
  const data = tensor.data;
  return Array.from({ length: rows }, (_, b) => data.slice(b * columns, (b + 1) * columns));
}

/** A fixture tensor on the device. */
export function deviceTensor(fixture: Fixture, name: string): tf.Tensor {
  const tensor = fixture.get(name);
  if (!tensor) throw new Error(`The fixture has no tensor named ${name}`);
  return tf.tensor(tensor.data as Float32Array, tensor.shape);
}

/** The config beside a fixture's weights. */
export async function fixtureConfig(folder: string): Promise<VLMConfig> {
  return { ...defaultVLMConfig(), ...JSON.parse(await Deno.readTextFile(`${folder}/config.json`)) };
}

/** The model of a fixture folder: `config.json` and `model.safetensors`. */
export async function fixtureModel(folder: string): Promise<VisionLanguageModel> {
  const config = await fixtureConfig(folder);
  const weights = await readSafetensors(`${folder}/model.safetensors`);
  const floatsOnly = [...weights].flatMap(([name, { shape, data }]) =>
    data instanceof Float32Array ? [[name, { shape, data }] as const] : []
  );
  return new VisionLanguageModel(
    config,
    floatsOnly.map(([name, weights]) => [name, weights]),
    config.lm_base_vocab_size,
  );
}

/** The batch of `model/forward.safetensors`, as the model takes it; the caller frees `images`. */
export function forwardInputs(fixture: Fixture): ModelInputs & { images: tf.Tensor4D } {
  return {
    inputIds: idRows(fixture, "input_ids"),
    attentionMask: idRows(fixture, "attention_mask"),
    labels: idRows(fixture, "targets"),
    images: deviceTensor(fixture, "images") as tf.Tensor4D,
  };
}

/**
 * Indices of the rows of a [B, T] matrix whose value passes `wanted`, row-major.
 */
export function rowsWhere(matrix: Int32Array, wanted: (value: number) => boolean): number[] {
  const found: number[] = [];
  matrix.forEach((value, i) => wanted(value) && found.push(i));
  return found;
}

/** The chosen rows of a row-major matrix with `width` columns, one after the other. */
export function takeRows(matrix: Float32Array, rows: number[], width: number): Float32Array {
  const taken = new Float32Array(rows.length * width);
  rows.forEach((row, i) => taken.set(matrix.subarray(row * width, (row + 1) * width), i * width));
  return taken;
}

/** Whether a path exists. */
export async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

/** Models below `variants/`, in the order of their names; none if there is no such folder. */
export async function variantNames(directory: string): Promise<string[]> {
  if (!await exists(`${directory}/variants`)) return [];
  const names: string[] = [];
  for await (const { name } of Deno.readDir(`${directory}/variants`)) {
    if (await exists(`${directory}/variants/${name}/config.json`)) names.push(name);
  }
  return names.sort();
}
