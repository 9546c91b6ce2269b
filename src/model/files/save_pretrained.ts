/**
 * A model on the device back into a folder.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../../device/read_back.ts";
import type { ImageProcessor } from "../../image/image_processor.ts";
import type { PackedWeight } from "../../ops/half/packed_weight.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
import type { TensorData } from "./adapter_files.ts";
import type { VLMConfig } from "../../vlm_config.ts";
import { saveModelFolder, type SaveModelOptions, type WeightToSave } from "./weights.ts";
import type { ModelTensors } from "../weights_map.ts";

/** What {@linkcode saveModel} needs of a model. */
export interface SavableModel extends Omit<ModelTensors, "packed"> {
  readonly packedWeights: ModelTensors["packed"];
  readonly config: VLMConfig;
  readonly tokenizer: Tokenizer | null;
  readonly imageProcessor: ImageProcessor | null;
}

/**
 * Tensors on their way into a file. On the host's own backends each is read when its turn comes, so
 * that none is held twice; a GPU's are read together, since each read has its wait.
 *
 * @param tensors by name
 * @returns in the same order; read before the tensors change
 */
export async function tensorsToSave(
  tensors: ReadonlyMap<string, tf.Tensor>,
): Promise<Map<string, TensorData>> {
  const values = tf.getBackend() === "webgpu" ? await readBack([...tensors.values()]) : null;
  return new Map(
    [...tensors].map(([name, tensor], i) => [name, {
      shape: tensor.shape,
      data: () => (values?.[i] ?? tensor.dataSync()) as Float32Array,
    }]),
  );
}

/** All weights of a model on their way into a file; its adapters are not among them. */
export async function weightsToSave(
  { weights, packedWeights }: Pick<SavableModel, "weights" | "packedWeights">,
  dtype?: SaveModelOptions["dtype"],
): Promise<WeightToSave[]> {
  const floats = await tensorsToSave(weights);
  return [
    ...[...floats].map(([name, tensor]) => ({ name, ...tensor })),
    ...packedToSave(packedWeights, dtype),
  ];
}

/** Frozen matrices in 16 bits: the bits that came in, or float32 where the file is to have a type. */
function packedToSave(
  weights: ReadonlyMap<string, PackedWeight>,
  dtype?: SaveModelOptions["dtype"],
): WeightToSave[] {
  return [...weights].map(([name, packed]) => {
    const { shape, format } = packed;
    return dtype === undefined || dtype === format
      ? { name, shape, dtype: format, data: () => packed.bits() }
      : { name, shape, data: () => packed.floats() };
  });
}

/**
 * Saves weights, config, and tokenizer and image processor where the model has them. The folder
 * changes at once or not at all. Without `dtype` each weight is stored as the model holds it.
 *
 * @throws {Error} where the model has adapters, which have files of their own
 * @throws {SaveError} where the disk is full, read-only or forbidden
 */
export async function saveModel(
  model: SavableModel,
  folder: string,
  options: Pick<SaveModelOptions, "dtype"> = {},
): Promise<void> {
  if (model.adapters.size > 0) {
    throw new Error(
      `Cannot save the model to ${folder}: ${model.adapters.size} of its layers have adapters, ` +
        "which are saved with saveAdapterFolder(); the merge command folds them into the weights",
    );
  }
  await saveModelFolder(
    folder,
    model.config,
    await weightsToSave(model, options.dtype),
    {
      dtype: options.dtype,
      writeOtherFiles: async (temporary) => {
        await model.tokenizer?.save(temporary);
        await model.imageProcessor?.save(temporary);
      },
    },
  );
}
