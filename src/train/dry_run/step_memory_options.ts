/**
 * What the memory of a training step depends on, beside the batch.
 *
 * @module
 */
import type { TrainingSection } from "../../config/types/config_types.ts";
import type { ActiveBackend } from "../../device/backend.ts";
import { collectGarbage } from "../../device/collect_garbage.ts";
import { parameterCount, weightBytes } from "../../model/model_weights.ts";
import type { VisionLanguageModel } from "../../generate/vision_language_model.ts";
import type { Adapter } from "../../model/weights_map.ts";
import type { Parameters } from "../loop/gradients.ts";
import type { StepMemoryOptions } from "./memory_estimate.ts";
import { adapterParameters } from "../optimizer/parameter_groups.ts";

/** Numbers in all of them. */
export function sizeOf(tensors: Iterable<{ readonly size: number }>): number {
  let size = 0;
  for (const tensor of tensors) size += tensor.size;
  return size;
}

/** Layers of a decoder block that read one tensor between them. */
const SHARED_INPUTS = [["q_proj", "k_proj", "v_proj"], ["gate_proj", "up_proj"], ["down_proj"]];

/**
 * Floats that adapters keep for the backward pass: the product with A; with DoRA, three tensors of the
 * output's size. If a layer is not one op (in 16-bit passes, and with DoRA), the input after dropout is
 * kept too; the input before dropout is then not kept if every layer that reads it is frozen and has an
 * adapter that reads the input after dropout. In a 16-bit pass all of these are in 16 bits, except
 * DoRA's.
 *
 * @param trains whether the weight of that layer trains
 */
function adapterFloats(
  model: VisionLanguageModel,
  trains: (layer: string) => boolean,
): StepMemoryOptions["adapterFloats"] {
  const floats = { perToken: 0, perPatch: 0, passing: 0 };
  const keepsCopy = ({ dropout, magnitude }: Pick<Adapter, "dropout" | "magnitude">): boolean =>
    dropout > 0 && (magnitude !== null || model.precision !== "float32");
  const readsCopy = (layer: string): boolean => {
    const adapter = model.adapters.get(layer);
    return adapter !== undefined && keepsCopy(adapter) && !trains(layer);
  };
  for (const [layer, adapter] of model.adapters) {
    const { loraA, loraB, magnitude } = adapter;
    const [r, inputs] = loraA.shape as [number, number];
    const forms = magnitude === null ? 0 : 3;
    const [part, ...path] = layer.split(".").reverse();
    const readers = SHARED_INPUTS.find(([first]) => first === part) ?? [];
    const prefix = path.reverse().join(".");
    const spared = readers.length > 0 && readers.every((name) => readsCopy(`${prefix}.${name}`));
    const read = r + (keepsCopy(adapter) ? inputs : 0) - (spared ? inputs : 0);
    const kept = read / (model.precision === "float32" ? 1 : 2) + forms * loraB.shape[0];
    const inVision = layer.startsWith("vision_encoder.");
    floats[inVision ? "perPatch" : "perToken"] += kept;
    if (!inVision && adapter.dropout > 0 && !keepsCopy(adapter)) {
      floats.passing += inputs / model.config.lm_n_blocks;
    }
  }
  return floats;
}

/** Bytes of a model's weights and adapters. */
export function modelBytes(model: VisionLanguageModel): number {
  return weightBytes(model) + 4 * sizeOf(adapterParameters(model).values());
}

/**
 * Call it when everything is ready for the first step: what the process holds then, beside the weights,
 * is a part of the estimate.
 *
 * @param parameters what trains
 */
export function stepMemoryOptions(
  model: VisionLanguageModel,
  parameters: Parameters,
  training: Pick<TrainingSection, "gradient_accumulation_steps" | "gradient_checkpointing">,
  { name, adapterInfo }: ActiveBackend,
): StepMemoryOptions {
  const named = (part: RegExp) =>
    sizeOf([...parameters].flatMap(([name, tensor]) => part.test(name) ? [tensor] : []));
  const trainedVision = named(/vision_encoder\./);
  collectGarbage();
  return {
    parameters: parameterCount(model) + sizeOf(adapterParameters(model).values()),
    packedSaves: [...model.packedWeights.values()]
      .reduce((sum, { size, byteLength }) => sum + 4 * size - byteLength, 0),
    trained: sizeOf(parameters.values()),
    trainedVision,
    trainedTable: named(/decoder\.(head|token_embedding)\./),
    trainsVision: trainedVision > 0,
    accumulation: training.gradient_accumulation_steps,
    checkpointing: training.gradient_checkpointing,
    half: model.precision !== "float32",
    fused: name !== "cpu",
    gpu: name !== "webgpu" ? null : adapterInfo?.software ? "software" : "hardware",
    compilesLate: /llvmpipe|lavapipe/i.test(adapterInfo?.description ?? ""),
    processBytes: Deno.memoryUsage().rss - modelBytes(model),
    adapterFloats: adapterFloats(model, (layer) => parameters.has(`${layer}.weight`)),
  };
}
