/**
 * Replays the host-side checks of weights: names and shapes of every model folder,
 * which layers an adapter wraps, and merged weights.
 *
 * @module
 */

import { matchTargetModules, readAdapter } from "../../model/files/adapter_files.ts";
import { readConfig } from "../../model/files/config_file.ts";
import { mergedReader } from "../../model/convert/merge.ts";
import { readSafetensors } from "../../model/safetensors/safetensors.ts";
import { SafetensorsFolder } from "../../model/safetensors/folder.ts";
import { inverseFrequencies, openWeights, weightSpecs } from "../../model/files/weights.ts";
import { compareNumbers } from "../compare_numbers.ts";
import { exactCase, readFixtureJson } from "./exact_case.ts";
import { variantNames } from "../fixture_model.ts";
import type { ParityResult } from "../result.ts";

async function replayModelFolder(directory: string, name: string): Promise<ParityResult[]> {
  const config = await readConfig(`${directory}/${name}`);
  using folder = await SafetensorsFolder.open(`${directory}/${name}`);
  // A ViT with a class token runs alone: its output does not fit the projector.
  const specs = weightSpecs(config, config.vit_cls_flag ? ["vision_encoder"] : undefined);
  const buffer = "decoder.rotary_embd.inv_freq";
  const results = [exactCase(
    name,
    "tensor names and shapes",
    specs.map((spec) => `${spec.name} [${spec.shape}]`).sort(),
    folder.names.filter((tensor) => tensor !== buffer)
      .map((tensor) => `${tensor} [${folder.entry(tensor).shape}]`).sort(),
  )];
  if (folder.has(buffer)) {
    const recorded = folder.readFloats(buffer).data;
    results.push(
      compareNumbers(name, "inverse frequencies", inverseFrequencies(config), recorded, {
        relative: 1e-6,
      }),
    );
  }
  return results;
}

interface LoraFile {
  results: Record<string, unknown>;
  wrapped_modules?: Record<string, { target_modules: string[]; modules: string[] }>;
}

async function replayAdapters(directory: string): Promise<ParityResult[]> {
  const file = await readFixtureJson<LoraFile>(`${directory}/lora/lora.json`);
  if (file === null) return [];
  const results: ParityResult[] = [];
  const config = await readConfig(`${directory}/model`);
  for (const [name, recorded] of Object.entries(file.wrapped_modules ?? {})) {
    const { modules } = matchTargetModules(config, recorded);
    results.push(
      exactCase(`lora/${name}`, "wrapped layers", modules.sort(), recorded.modules.sort()),
    );
  }
  using base = await openWeights(`${directory}/model`, config);
  for (const kind of Object.keys(file.results)) {
    const adapter = await readAdapter(`${directory}/lora/${kind}`, config);
    const read = mergedReader(config, adapter, (name) => base.read(name));
    const recorded = await readSafetensors(`${directory}/lora/${kind}_forward.safetensors`);
    for (const [name, { data }] of recorded) {
      if (!name.startsWith("merged.") || !(data instanceof Float32Array)) continue;
      const weight = name.slice("merged.".length);
      results.push(
        compareNumbers(`lora/${kind}`, `merged ${weight}`, read(weight).data, data, {
          absolute: 1e-5,
        }),
      );
    }
  }
  return results;
}

/**
 * Replays the weights of a fixtures folder; needs no backend.
 *
 * @param directory the fixtures folder
 */
export async function replayWeightsCases(directory: string): Promise<ParityResult[]> {
  const results: ParityResult[] = [];
  const variants = await variantNames(directory);
  for (const name of ["model", ...variants.map((variant) => `variants/${variant}`)]) {
    results.push(...await replayModelFolder(directory, name));
  }
  return [...results, ...await replayAdapters(directory)];
}
