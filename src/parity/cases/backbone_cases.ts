/**
 * Replays `backbones/`: outputs of models converted from Transformers folders.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../../device/read_back.ts";
import { convertBackbones } from "../../model/convert/convert.ts";
import { readSafetensors } from "../../model/safetensors/safetensors.ts";
import { VisionLanguageModel } from "../../generate/vision_language_model.ts";
import { compareNumbers } from "../compare_numbers.ts";
import { exactCase, readFixtureJson } from "./exact_case.ts";
import { deviceTensor, exists, type Fixture, floats, idRows } from "../fixture_model.ts";
import type { ParityResult } from "../result.ts";

const TOLERANCE = { relative: 1e-4, absolute: 2e-5 };

/** Folders of Transformers models below `backbones/`, by what they are. */
async function backboneFolders(
  directory: string,
): Promise<{ vision: string[]; language: string[] }> {
  const found = { vision: [] as string[], language: [] as string[] };
  for await (const { name } of Deno.readDir(directory)) {
    if (!await exists(`${directory}/${name}/config.json`)) continue;
    const config = await readFixtureJson<{ model_type?: string }>(
      `${directory}/${name}/config.json`,
    );
    const type = config?.model_type ?? "";
    if (type.startsWith("siglip")) found.vision.push(name);
    else if (type === "llama") found.language.push(name);
  }
  return { vision: found.vision.sort(), language: found.language.sort() };
}

/** Logits of the source's vocabulary, [B, T, V], out of those of a larger one. */
function firstColumns(logits: Float32Array, width: number, wanted: number): Float32Array {
  const rows = logits.length / width;
  const taken = new Float32Array(rows * wanted);
  for (let row = 0; row < rows; row++) {
    taken.set(logits.subarray(row * width, row * width + wanted), row * wanted);
  }
  return taken;
}

async function replayPair(
  directory: string,
  language: string,
  vision: string | undefined,
  expected: Fixture,
): Promise<ParityResult[]> {
  const name = `backbones/${[language, vision].filter(Boolean).join("+")}`;
  using converted = await convertBackbones({
    languageDir: `${directory}/${language}`,
    visionDir: vision && `${directory}/${vision}`,
    seed: 0,
    onWarning: () => {},
  });
  const { config, specs } = converted;
  const model = new VisionLanguageModel(
    config,
    specs.map((spec) => [spec.name, converted.read(spec.name)]),
    config.lm_vocab_size - 1,
  );
  const results: ParityResult[] = [];
  try {
    results.push(exactCase(
      name,
      "shapes",
      specs.map((spec) => `${spec.name} [${converted.read(spec.name).shape}]`),
      specs.map((spec) => `${spec.name} [${spec.shape}]`),
    ));
    if (vision !== undefined) {
      const pixels = deviceTensor(expected, "pixel_values") as tf.Tensor4D;
      const features = tf.tidy(() => model.imageFeatures(pixels));
      const [values] = await readBack([features]);
      tf.dispose([pixels, features]);
      results.push(compareNumbers(
        name,
        "vision hidden states",
        values as Float32Array,
        floats(expected, "vision_last_hidden_state"),
        TOLERANCE,
      ));
    }
    const { logits } = model.forward({
      inputIds: idRows(expected, "input_ids"),
      returnLogits: true,
    });
    if (logits === null) throw new Error("The model returned no logits");
    const [values] = await readBack([logits]);
    logits.dispose();
    const V = expected.get("logits")?.shape.at(-1) ?? 0;
    results.push(compareNumbers(
      name,
      "logits",
      firstColumns(values as Float32Array, config.lm_vocab_size, V),
      floats(expected, "logits"),
      TOLERANCE,
    ));
  } finally {
    model.dispose();
  }
  return results;
}

/**
 * Converts every backbone of `backbones/` and runs it on the current backend.
 *
 * @param directory the fixtures folder
 */
export async function replayBackboneCases(directory: string): Promise<ParityResult[]> {
  const folder = `${directory}/backbones`;
  if (!await exists(folder)) return [];
  const expected = await readSafetensors(`${folder}/expected.safetensors`);
  const { vision, language } = await backboneFolders(folder);
  const results: ParityResult[] = [];
  for (const one of language) {
    for (const other of vision.length > 0 ? vision : [undefined]) {
      results.push(...await replayPair(folder, one, other, expected));
    }
  }
  return results;
}
