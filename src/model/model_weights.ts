/**
 * The weights of one model on the device: float32 ones, which may train, and frozen matrices in 16
 * bits.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../device/read_back.ts";
import { PackedWeight } from "../ops/half/packed_weight.ts";
import type { VLMConfig } from "../vlm_config.ts";
import type { HostWeights, PackedHostWeights } from "./packed_weights.ts";
import { weightSpecs } from "./weight_shapes.ts";

/** Weights by nanoVLM's names, each in one of the two maps. */
export interface HeldWeights {
  readonly weights: ReadonlyMap<string, tf.Variable>;
  readonly packedWeights: ReadonlyMap<string, PackedWeight>;
}

const TABLE = "decoder.token_embedding.weight", HEAD = "decoder.head.weight";

/**
 * Copies weights to the device, into the model's maps. Tied weights are one tensor, under the
 * head's name.
 *
 * @param values by nanoVLM's names; those in 16 bits stay so
 */
export function holdWeights(
  config: VLMConfig,
  values: Iterable<[string, HostWeights | PackedHostWeights]>,
  weights: Map<string, tf.Variable>,
  packedWeights: Map<string, PackedWeight>,
): void {
  for (const [given, tensor] of values) {
    if (given.endsWith("rotary_embd.inv_freq")) continue; // computed from the config
    const name = config.lm_tie_weights && given === TABLE ? HEAD : given;
    const before = weights.get(name) ?? packedWeights.get(name);
    if (before !== undefined) {
      if (given === TABLE) continue; // the head came first
      before.dispose();
      weights.delete(name);
      packedWeights.delete(name);
    }
    const { shape } = tensor;
    if ("bits" in tensor) {
      packedWeights.set(name, new PackedWeight(tensor.bits, tensor.format, shape));
    } else {
      const { data } = tensor;
      weights.set(name, tf.tidy(() => tf.variable(tf.tensor(data, [...shape]), false)));
    }
  }
}

/** Names of all weights of a model, in the order of its modules. */
export function weightNames(model: HeldWeights & { readonly config: VLMConfig }): string[] {
  return weightSpecs(model.config).map(({ name }) => name)
    .filter((name) => model.weights.has(name) || model.packedWeights.has(name));
}

/** Numbers in all weights of a model, without adapters. */
export function parameterCount({ weights, packedWeights }: HeldWeights): number {
  let count = 0;
  for (const { size } of [...weights.values(), ...packedWeights.values()]) count += size;
  return count;
}

/** Bytes of all weights of a model on the device, without adapters. */
export function weightBytes({ weights, packedWeights }: HeldWeights): number {
  let bytes = 0;
  for (const { size } of weights.values()) bytes += 4 * size;
  for (const { byteLength } of packedWeights.values()) bytes += byteLength;
  return bytes;
}

/**
 * A weight's numbers, copied to the host as float32.
 *
 * @param name nanoVLM's
 * @throws {Error} if the model has none of that name
 */
export async function readWeight(model: HeldWeights, name: string): Promise<Float32Array> {
  const packed = model.packedWeights.get(name), tensor = model.weights.get(name);
  if (packed) return await packed.floats();
  if (tensor) return (await readBack([tensor]))[0] as Float32Array;
  throw new Error(`Cannot read the weight ${name}: the model has none of that name`);
}
