/**
 * Merges adapters into the base weights, on the host.
 *
 * @module
 */

import type { AdapterWeights, HostAdapter } from "../files/adapter_files.ts";
import type { VLMConfig } from "../../vlm_config.ts";
import type { FloatTensor } from "../safetensors/safetensors.ts";

/**
 * One merged weight: LoRA's W + s B A, or DoRA's (m / n) (W + s B A) with n the row norms of
 * W + s B A (Hu et al., 2021; Liu et al., 2024, eq. 5). Summed in float64.
 *
 * @param weight W, [out, in], left as it is
 * @returns [out, in]
 */
export function mergeWeight(weight: Float32Array, adapter: HostAdapter): Float32Array {
  const { loraA, loraB, magnitude, scaling } = adapter;
  const [r, inputs] = loraA.shape;
  const outputs = loraB.shape[0];
  const merged = new Float32Array(weight.length);
  const row = new Float64Array(inputs);
  for (let o = 0; o < outputs; o++) {
    for (let i = 0; i < inputs; i++) row[i] = weight[o * inputs + i];
    for (let k = 0; k < r; k++) {
      const b = scaling * loraB.data[o * r + k];
      if (b === 0) continue;
      const at = k * inputs;
      for (let i = 0; i < inputs; i++) row[i] += b * loraA.data[at + i];
    }
    let factor = 1;
    if (magnitude !== null) {
      let sum = 0;
      for (let i = 0; i < inputs; i++) sum += row[i] * row[i];
      factor = magnitude.data[o] / Math.sqrt(sum);
    }
    for (let i = 0; i < inputs; i++) merged[o * inputs + i] = factor * row[i];
  }
  return merged;
}

/**
 * The config of the merged model. A tied model comes untied if the adapter changes the head or the
 * embedding alone, since they differ after merging.
 */
export function mergedConfig(model: VLMConfig, adapter: AdapterWeights): VLMConfig {
  const splits = adapter.unties || adapter.adapters.has("decoder.head");
  return model.lm_tie_weights && splits ? { ...model, lm_tie_weights: false } : model;
}

/**
 * A reader of merged weights over a reader of the base model's: adapted layers are merged, weights
 * trained beside the adapter replace those of the base model, others are unchanged. Names are those
 * of {@linkcode mergedConfig}.
 *
 * @param read a weight of the base model by nanoVLM's name
 */
export function mergedReader(
  model: VLMConfig,
  adapter: AdapterWeights,
  read: (name: string) => FloatTensor,
): (name: string) => FloatTensor {
  return (name) => {
    const trained = adapter.trained.get(name);
    if (trained !== undefined) return trained;
    const isTable = name === "decoder.token_embedding.weight";
    const base = read(model.lm_tie_weights && isTable ? "decoder.head.weight" : name);
    const layer = name.endsWith(".weight") ? name.slice(0, -".weight".length) : "";
    const own = adapter.adapters.get(layer);
    return own === undefined ? base : { ...base, data: mergeWeight(base.data, own) };
  };
}
