/**
 * Writes a model folder from backbones: weights, config, tokenizer and image processor.
 *
 * @module
 */

import type { VLMConfig } from "../../vlm_config.ts";
import { familyOfType } from "../families/families.ts";
import type { ModelFamily } from "../families/model_family.ts";
import type { FloatTensor } from "../safetensors/safetensors.ts";
import { type WeightSpec, weightSpecs } from "../weight_shapes.ts";
import { initializeWeight } from "../initialize.ts";
import { convertBackbones, type ConvertBackbonesOptions, type ConvertedModel } from "./convert.ts";
import { elementCount } from "../../element_count.ts";
import { nameOwnTokenizer } from "../files/own_tokenizer.ts";
import { saveModelFolder, type SaveModelOptions } from "../files/weights.ts";
import { Tokenizer } from "../../text/tokenizer.ts";

/** Inputs of {@linkcode convert}. */
export interface ConvertOptions
  extends Omit<ConvertBackbonesOptions, "tokenizerSize">, Pick<SaveModelOptions, "dtype"> {
  /** Model family of the folder, by its `model_type`; nanoVLM by default. */
  family?: string;
  /** Output folder. */
  outDir: string;
  /** A folder with tokenizer.json; that of the language backbone by default. */
  tokenizerDir?: string;
}

/** Result of {@linkcode convert}. */
export interface ConvertReport {
  /** The config that was written. */
  config: VLMConfig;
  /** Numbers in all trained tensors. */
  parameters: number;
  /** Whether the language folder had a tokenizer, which the new one then has too. */
  hasTokenizer: boolean;
}

/** The ids with which the backbone's answers end, by generation_config.json, else config.json. */
async function endTokenIds(folder: string): Promise<number[]> {
  for (const name of ["generation_config.json", "config.json"]) {
    let values: unknown;
    try {
      values = JSON.parse(await Deno.readTextFile(`${folder}/${name}`));
    } catch {
      continue; // There, it may be missing; config.json is read again, with its errors told.
    }
    if (typeof values !== "object" || values === null || !("eos_token_id" in values)) continue;
    const ids: unknown[] = [values.eos_token_id].flat();
    const whole = ids.filter((id) => typeof id === "number");
    if (whole.length > 0) return whole;
  }
  return [];
}

/**
 * The tokenizer of a language backbone with the family's extra tokens, or null if the folder has
 * none. If its end token differs from the one that the model was trained to end with (folders made
 * out of GGUF files name `<|im_start|>`), the model's is taken.
 *
 * @param languageDir the backbone, whose config says how answers end
 * @param tokenizerDir folder of tokenizer.json
 * @param family whose tokens and template it gets, unless the options have others
 */
export async function backboneTokenizer(
  languageDir: string,
  tokenizerDir: string,
  family: Pick<ModelFamily, "extraTokens" | "chatTemplate">,
  { vlmConfig: wished = {}, onWarning = console.warn }: Pick<
    ConvertOptions,
    "vlmConfig" | "onWarning"
  > = {},
): Promise<Tokenizer | null> {
  try {
    await Deno.stat(`${tokenizerDir}/tokenizer.json`);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
  let tokenizer = await Tokenizer.fromFolder(tokenizerDir);
  const named = tokenizer.roleId("eos_token");
  const ids = tokenizerDir === languageDir ? await endTokenIds(languageDir) : [];
  const end = ids.length > 0 ? tokenizer.idToToken(ids[0]) : null;
  if (end !== null && (named === null || !ids.includes(named))) {
    onWarning(
      `${tokenizerDir}: the tokenizer's end token is ${tokenizer.roleToken("eos_token")}, ` +
        `but the model ends with ${end}, which is taken`,
    );
    const { files } = tokenizer;
    tokenizer = Tokenizer.fromJson({
      tokenizer: files.tokenizer,
      config: { ...files.config, eos_token: end, eos_token_id: ids[0] },
    });
  }
  return tokenizer.withExtraTokens(
    wished.vlm_extra_tokens ?? family.extraTokens(),
    wished.lm_chat_template ?? family.chatTemplate,
  );
}

/**
 * A weight of the converted model. A family with three layers for q, k and v takes the thirds of
 * the one that backbones are converted to.
 */
function readWeight(
  model: ConvertedModel,
  spec: WeightSpec,
  options: ConvertOptions,
): FloatTensor {
  const match = /^(vision_encoder\..*\.attn\.)([qkv])_proj\.(weight|bias)$/.exec(spec.name);
  if (match === null) return model.read(spec.name);
  if (options.visionDir === undefined) return initializeWeight(spec, options.seed, options);
  const whole = model.read(`${match[1]}qkv_proj.${match[3]}`);
  const size = elementCount(spec.shape);
  const from = "qkv".indexOf(match[2]) * size;
  return { shape: spec.shape, dtype: "F32", data: whole.data.subarray(from, from + size) };
}

/**
 * Converts backbones into a folder of a model family, which is written as a whole or not at all.
 *
 * @throws {ConvertError} if a folder holds another architecture or the dims do not fit
 * @throws {SafetensorsError} if a weights file is missing or damaged
 * @throws {SaveError} if the disk is full, read-only or forbidden
 */
export async function convert(options: ConvertOptions): Promise<ConvertReport> {
  const warn = options.onWarning ?? ((text: string): void => console.warn(text));
  const tokenizerDir = options.tokenizerDir ?? options.languageDir;
  const family = familyOfType(options.family ?? "", "--family");
  const tokenizer = await backboneTokenizer(
    options.languageDir,
    tokenizerDir,
    family,
    { vlmConfig: options.vlmConfig, onWarning: warn },
  );
  if (tokenizer === null) {
    warn(
      `${tokenizerDir} has no tokenizer.json, so ${options.outDir} gets none: the model ` +
        `runs on ids, but neither trains on text nor answers before you copy one there`,
    );
  }
  const vlmConfig = { vlm_extra_tokens: family.extraTokens(), ...options.vlmConfig };
  const fresh = { ...options, pixelRange: family.pixelRange };
  using model = await convertBackbones({
    ...fresh,
    vlmConfig,
    tokenizerSize: tokenizer?.vocabSize,
  });
  const { config, writeFiles } = family.fromBackbones(model.config, tokenizer);
  const specs = weightSpecs(config);
  await saveModelFolder(
    options.outDir,
    config,
    specs.map((spec) => ({
      name: spec.name,
      shape: spec.shape,
      data: () => readWeight(model, spec, fresh).data,
    })),
    {
      dtype: options.dtype,
      writeOtherFiles: async (folder) => {
        await writeFiles(folder);
        await nameOwnTokenizer(folder);
      },
    },
  );
  return {
    config,
    parameters: specs.reduce((sum, { shape }) => sum + elementCount(shape), 0),
    hasTokenizer: tokenizer !== null,
  };
}
