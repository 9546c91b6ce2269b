/**
 * Fresh adapters on a model that is on the backend already.
 *
 * @module
 */
import {
  defaultLoraConfig,
  initializeAdapter,
  type LoraConfig,
} from "../../model/files/adapter_files.ts";
import { deviceAdapter } from "../../model/device_adapter.ts";
import { readWeight } from "../../model/model_weights.ts";
import type { VisionLanguageModel } from "../../generate/vision_language_model.ts";

/**
 * Puts fresh LoRA or DoRA adapters on a model's layers. Before the first step they change no output.
 *
 * @param model gets the adapters, which it owns from then on
 * @param options PEFT's keys; what is left out is nanoVLM-Lab's default
 * @param seed of the fresh values
 * @returns the whole config, which a trainer needs as `loraConfig`, and what the user should know
 * @throws {Error} if no layer has one of the names in `target_modules`, or one has an adapter
 */
export async function addLora(
  model: VisionLanguageModel,
  options: Partial<LoraConfig> = {},
  seed = 0,
): Promise<{ loraConfig: LoraConfig; warnings: string[] }> {
  const loraConfig: LoraConfig = { ...defaultLoraConfig(), ...options };
  const { adapters, warnings } = await initializeAdapter(
    model.config,
    loraConfig,
    seed,
    (name) => readWeight(model, name),
  );
  for (const [layer, adapter] of adapters) {
    model.setAdapter(layer, deviceAdapter(adapter, loraConfig.lora_dropout));
  }
  return { loraConfig, warnings };
}
