/**
 * `config.json` of a model folder; its `model_type` chooses the family that reads it.
 *
 * @module
 */
import type { VLMConfig } from "../../vlm_config.ts";
import { ModelConfigError } from "../families/check_config.ts";
import { familyOfType } from "../families/families.ts";
import type { ParseConfigOptions } from "../families/model_family.ts";

/**
 * Reads `config.json` of a model folder.
 *
 * @throws {ModelConfigError} if it is missing, is not JSON, or is of no known family
 */
export async function readConfig(
  folder: string,
  options: ParseConfigOptions = {},
): Promise<VLMConfig> {
  const path = `${folder}/config.json`;
  let value: unknown;
  try {
    value = JSON.parse(await Deno.readTextFile(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      throw new ModelConfigError(
        `Cannot read a model from ${folder}: it has no config.json; a model folder has ` +
          `config.json and model.safetensors`,
      );
    }
    const reason = error instanceof Error ? error.message : String(error);
    throw new ModelConfigError(`Cannot read ${path}: ${reason}`, { cause: error });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new ModelConfigError(`Cannot use ${path}: want an object`);
  }
  const json: Record<string, unknown> = { ...value };
  return familyOfType(json.model_type ?? "", path).parseConfig(json, path, options);
}
