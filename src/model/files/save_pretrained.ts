/**
 * Saves a model on the device to a folder.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../../device/read_back.ts";
import type { ImageProcessor } from "../../image/image_processor.ts";
import type { PackedWeight } from "../../ops/half/packed_weight.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
import { nameOwnTokenizer } from "./own_tokenizer.ts";
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
 * Tensors to save. On wasm and cpu each is read just before it is written, so that only one copy
 * exists at a time; on a GPU all are read at once, since each read-back has a fixed cost.
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

/** All weights of a model to save, without adapters. */
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

/**
 * Frozen matrices in 16 bits: the bits as loaded, or float32 if the file is to have one type.
 *
 * @throws {Error} if some are in 8 bits, which are not what the model was loaded from
 */
function packedToSave(
  weights: ReadonlyMap<string, PackedWeight>,
  dtype?: SaveModelOptions["dtype"],
): WeightToSave[] {
  return [...weights].map(([name, packed]) => {
    const { shape, format } = packed;
    if (format === "Q8") {
      throw new Error(
        `Cannot save the weights: ${name} was rounded to 8 bits when it was loaded; save the ` +
          "adapter, and merge it into the model that it was trained on",
      );
    }
    return dtype === undefined || dtype === format
      ? { name, shape, dtype: format, data: () => packed.bits() }
      : { name, shape, data: () => packed.floats() };
  });
}

/**
 * Saves weights, config, and the tokenizer and image processor if the model has them. The folder
 * is replaced as a whole or not at all. Without `dtype` each weight is stored as the model holds
 * it.
 *
 * @throws {Error} if the model has adapters, which have files of their own
 * @throws {SaveError} if the disk is full, read-only or forbidden
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
        await nameOwnTokenizer(temporary);
        await model.imageProcessor?.save(temporary);
      },
    },
  );
}
