/**
 * The table of model families. A new one is a folder here and a line below.
 *
 * @module
 */
import type { VLMConfig } from "../../vlm_config.ts";
import { ModelConfigError } from "./check_config.ts";
import type { ModelFamily } from "./model_family.ts";
import { nanoVLM } from "./nanovlm/nanovlm.ts";
import { smolVLM } from "./smolvlm/smolvlm.ts";

const FAMILIES: readonly ModelFamily[] = [nanoVLM, smolVLM];

/** All values of `model_type` that a folder may have. */
const MODEL_TYPES: readonly string[] = FAMILIES.flatMap(({ modelTypes }) => modelTypes);

/** Whether a family has this `model_type`; the empty string: config.json has none. */
export function isModelType(type: unknown): boolean {
  return MODEL_TYPES.some((known) => known === type);
}

/** The family of a model. */
export function familyOf(config: VLMConfig): ModelFamily {
  return familyOfType(config.model_type ?? "", "this config");
}

/**
 * The family of a `model_type`.
 *
 * @param type the empty string if config.json has none
 * @param source the file's name, for messages
 * @throws {ModelConfigError} if no family has it
 */
export function familyOfType(type: unknown, source: string): ModelFamily {
  const family = FAMILIES.find(({ modelTypes }) => modelTypes.some((known) => known === type));
  if (family) return family;
  const known = MODEL_TYPES.filter((name) => name !== "").join(", ");
  throw new ModelConfigError(
    `Cannot read a model from ${source}: its model_type is ${JSON.stringify(type)}, want one of ` +
      `${known}, or none for nanoVLM; "convert" makes a nanoVLM folder of Llama and SigLIP backbones`,
  );
}

/**
 * All names that files of any family have for a weight or an adapter's tensor, the likeliest first.
 *
 * @param name the model's, an adapter's with PEFT's prefix `base_model.model.`
 */
export function fileNamesOf(name: string): string[] {
  const [, prefix, own] = /^(base_model\.model\.)?(.*)$/.exec(name)!;
  const names = FAMILIES.flatMap((family) => [
    family.toFileName(own),
    // Tied weights may have either name.
    ...(own === "decoder.head.weight" ? [family.toFileName("decoder.token_embedding.weight")] : []),
  ]);
  return [...new Set([own, ...names])].map((each) => `${prefix ?? ""}${each}`);
}
