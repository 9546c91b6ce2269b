/**
 * An adapter that makes a model talk: its answers mean nothing and do not end early, so that clients
 * can read slowly and vanish in the middle.
 *
 * @module
 */
import type { VLMConfig } from "../../src/vlm_config.ts";
import {
  defaultLoraConfig,
  initializeAdapter,
  saveAdapterFolder,
} from "../../src/model/files/adapter_files.ts";
import { RandomStream } from "../../src/random.ts";

/** Standard deviation of B: large enough that nothing of the model's short answers is left. */
const SCALE = 3;

/**
 * Writes the adapter.
 *
 * @param folder is made
 * @param model the base's config
 */
export async function writeTalker(folder: string, model: VLMConfig): Promise<void> {
  const config = { ...defaultLoraConfig(), r: 8, target_modules: ["v_proj", "down_proj"] };
  const random = new RandomStream(3, "talker");
  const fresh = await initializeAdapter(model, config, 1, () => new Float32Array());
  for (const { loraB } of fresh.adapters.values()) {
    for (let i = 0; i < loraB.data.length; i++) loraB.data[i] = SCALE * random.nextNormal();
  }
  await saveAdapterFolder(folder, model, fresh);
}
