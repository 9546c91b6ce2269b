/** A folder with an untrained tiny nanoVLM, for commands that want a model. */
import { EMBEDDED_CONFIGS } from "../../src/config/embedded/embedded_configs.ts";
import { parseConfig } from "../../src/config/load_config.ts";
import { initBackend } from "../../src/device/backend.ts";
import { prepareModel, writePreparedModel } from "../../src/train/run/prepare_model.ts";

/**
 * Writes the folder.
 *
 * @param seed another seed is another model
 */
export async function writeTinyModel(folder: string, seed = 1): Promise<void> {
  await initBackend({ backend: "wasm" });
  const { model } = parseConfig(EMBEDDED_CONFIGS.sft.text, {
    trainingType: "sft",
    overrides: ["model.vlm_config.vit_n_blocks=1", "model.vlm_config.lm_n_blocks=1"],
  });
  const prepared = await prepareModel(model, seed);
  try {
    await Deno.mkdir(folder, { recursive: true });
    await writePreparedModel(prepared, [], folder);
  } finally {
    prepared.model.dispose();
  }
}
