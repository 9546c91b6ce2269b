/**
 * Replays `generate.json` and the variants' `generate.json`: greedy decoding with a cache.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { generateTokens } from "../../generate/engine.ts";
import { readSafetensors } from "../../model/safetensors/safetensors.ts";
import type { VisionLanguageModel } from "../../generate/vision_language_model.ts";
import { compareNumbers } from "../compare_numbers.ts";
import {
  deviceTensor,
  exists,
  type Fixture,
  fixtureModel,
  variantNames,
} from "../fixture_model.ts";
import type { ParityResult } from "../result.ts";

interface GenerateCase {
  note: string;
  prompts?: number[];
  images?: string | null;
  input_ids: number[][];
  attention_mask: number[][] | null;
  generated_ids: number[][];
  eos_token_id: number;
  margins: number[][];
  top1_logits: number[][];
  raw_argmax_ids: number[][];
}

const LOGIT = { absolute: 1e-3 };

/** The two largest of a row. */
function topTwo(row: Float32Array): [number, number] {
  let first = -Infinity, second = -Infinity;
  for (const value of row) {
    if (value > first) [first, second] = [value, first];
    else if (value > second) second = value;
  }
  return [first, second];
}

/** The images of a case's prompts, in order. */
function caseImages(recorded: GenerateCase, images: Fixture): tf.Tensor | null {
  const named = (recorded.prompts ?? []).map((prompt) => `prompt${prompt}.images`)
    .filter((name) => images.has(name));
  if (named.length === 0) return null;
  return tf.tidy(() => tf.concat(named.map((name) => deviceTensor(images, name))));
}

async function replayCase(
  name: string,
  model: VisionLanguageModel,
  recorded: GenerateCase,
  images: Fixture,
): Promise<ParityResult[]> {
  const { input_ids, attention_mask, generated_ids, eos_token_id } = recorded;
  const pictures = caseImages(recorded, images);
  const margins: number[][] = input_ids.map(() => []);
  const tops: number[][] = input_ids.map(() => []);
  const raw = await generateTokens(
    model,
    { inputIds: input_ids, attentionMask: attention_mask, images: pictures },
    {
      maxNewTokens: generated_ids[0].length,
      greedy: true,
      stopTokenIds: [],
      forbiddenTokenIds: [],
      onLogits(rows, logits) {
        const width = logits.length / rows.length;
        rows.forEach((row, b) => {
          const [first, second] = topTwo(logits.subarray(b * width, (b + 1) * width));
          margins[row].push(first - second);
          tops[row].push(first);
        });
      },
    },
  );
  const stopped = await generateTokens(
    model,
    { inputIds: input_ids, attentionMask: attention_mask, images: pictures },
    {
      maxNewTokens: generated_ids[0].length,
      greedy: true,
      stopTokenIds: [eos_token_id],
      forbiddenTokenIds: [],
    },
  );
  pictures?.dispose();
  const at = `${name}: ${recorded.note}`;
  // The reference decodes on and overwrites what follows the first eos with eos.
  const filled = stopped.flatMap(({ tokens }) =>
    generated_ids[0].map((_, i) => tokens[i] ?? eos_token_id)
  );
  return [
    compareNumbers(at, "tokens", filled, generated_ids.flat(), {}),
    compareNumbers(
      at,
      "tokens before the eos rule",
      raw.flatMap(({ tokens }) => tokens),
      recorded.raw_argmax_ids.flat(),
      {},
    ),
    compareNumbers(at, "margins", margins.flat(), recorded.margins.flat(), LOGIT),
    compareNumbers(at, "top logits", tops.flat(), recorded.top1_logits.flat(), LOGIT),
  ];
}

/**
 * Replays greedy decoding on the current backend.
 *
 * @param directory the fixtures folder
 */
export async function replayGenerateCases(directory: string): Promise<ParityResult[]> {
  const sets: [name: string, folder: string, file: string, images: string | null][] = [];
  if (await exists(`${directory}/generate.json`)) {
    const images = `${directory}/generate.safetensors`;
    sets.push([
      "generate",
      `${directory}/model`,
      `${directory}/generate.json`,
      await exists(images) ? images : null,
    ]);
  }
  for (const name of await variantNames(directory)) {
    const folder = `${directory}/variants/${name}`;
    if (!await exists(`${folder}/generate.json`)) continue;
    sets.push([`variants/${name} generate`, folder, `${folder}/generate.json`, null]);
  }
  const results: ParityResult[] = [];
  for (const [name, folder, file, imageFile] of sets) {
    const { cases }: { cases: GenerateCase[] } = JSON.parse(await Deno.readTextFile(file));
    const images = imageFile ? await readSafetensors(imageFile) : new Map();
    const model = await fixtureModel(folder);
    for (const recorded of cases) {
      results.push(...await replayCase(name, model, recorded, images));
    }
    model.dispose();
  }
  return results;
}
