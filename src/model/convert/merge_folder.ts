/**
 * Merges an adapter into its base model's folder.
 *
 * @module
 */

import { readAdapter } from "../files/adapter_files.ts";
import type { VLMConfig } from "../../vlm_config.ts";
import { familyOf } from "../families/families.ts";
import { weightSpecs } from "../weight_shapes.ts";
import { nameOwnTokenizer } from "../files/own_tokenizer.ts";
import { mergedConfig, mergedReader } from "./merge.ts";
import {
  openWeights,
  readConfig,
  saveModelFolder,
  type SaveModelOptions,
} from "../files/weights.ts";

/** Inputs of {@linkcode mergeFolder}. */
export interface MergeFolderOptions extends Pick<SaveModelOptions, "dtype"> {
  /** The model that the adapter was trained on. */
  modelDir: string;
  /** A PEFT adapter folder. */
  adapterDir: string;
  /** Output folder. */
  outDir: string;
}

/** Copies the tokenizer and image processor files that exist. */
export async function copyCompanions(
  config: VLMConfig,
  from: string,
  to: string,
): Promise<void> {
  for (const name of familyOf(config).companions) {
    try {
      // Read and written, since a copy would keep a read-only file read-only.
      await Deno.writeFile(`${to}/${name}`, await Deno.readFile(`${from}/${name}`));
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
}

/**
 * Folds an adapter into its model's weights and writes the result as a model folder, which
 * is written as a whole or not at all. Weights that were trained beside the adapter are taken from
 * it.
 *
 * @returns the model's config, and the names of the merged layers and of the replaced weights
 * @throws {AdapterError} if the adapter is not of this model
 * @throws {WeightsError} if the model's weights are not those of its config
 * @throws {SaveError} if the disk is full, read-only or forbidden
 */
export async function mergeFolder(
  options: MergeFolderOptions,
): Promise<{ config: VLMConfig; merged: string[]; replaced: string[] }> {
  const { modelDir, adapterDir, outDir, dtype } = options;
  const config = await readConfig(modelDir);
  const adapter = await readAdapter(adapterDir, config);
  using base = await openWeights(modelDir, config);
  const read = mergedReader(config, adapter, (name) => base.read(name));
  const merged = mergedConfig(config, adapter);
  await saveModelFolder(
    outDir,
    merged,
    weightSpecs(merged).map(({ name, shape }) => ({ name, shape, data: () => read(name).data })),
    {
      dtype,
      writeOtherFiles: async (folder) => {
        await copyCompanions(config, modelDir, folder);
        await nameOwnTokenizer(folder);
      },
    },
  );
  return {
    config: merged,
    merged: [...adapter.adapters.keys()],
    replaced: [...adapter.trained.keys()],
  };
}
