/**
 * The model that a config asks for: fresh, from backbones, or from a checkpoint; with its
 * tokenizer, its image processor, and fresh adapters if LoRA is on.
 *
 * @module
 */
import type { ModelSection } from "../../config/types/config_types.ts";
import { BUILTIN_SHAPES } from "../../data/embedded/embedded_dataset.ts";
import { resolveModelFolder } from "../../hub/model_folder.ts";
import { ImageProcessor } from "../../image/image_processor.ts";
import { type LoraConfig, writeAdapterFiles } from "../../model/files/adapter_files.ts";
import { defaultVLMConfig, imageTokensOf, type VLMConfig } from "../../vlm_config.ts";
import { convertBackbones } from "../../model/convert/convert.ts";
import { initializeWeights } from "../../model/initialize.ts";
import { releasedAfterUpload } from "../../model/release_memory.ts";
import { loadModel } from "../../generate/load_model.ts";
import { VisionLanguageModel } from "../../generate/vision_language_model.ts";
import {
  type HostWeights,
  type PackedHostWeights,
  packExactly,
} from "../../model/packed_weights.ts";
import { tensorsToSave, weightsToSave } from "../../model/files/save_pretrained.ts";
import { nameOwnTokenizer } from "../../model/files/own_tokenizer.ts";
import { writeModelFiles } from "../../model/files/weights.ts";
import { embeddedTokenizerFiles } from "../../text/embedded_tokenizer.ts";
import { usesGlobalTile } from "../../text/image_string.ts";
import { Tokenizer } from "../../text/tokenizer.ts";
import { addLora } from "./add_lora.ts";
import {
  type FrozenSettings,
  type FrozenWeights,
  frozenWeights,
  packedNote,
  roundFrozen,
} from "./frozen_weights.ts";
import { trainingPrecision } from "../loop/training_precision.ts";

/** A model that is ready to train. */
export interface PreparedModel {
  readonly model: VisionLanguageModel;
  readonly tokenizer: Tokenizer;
  readonly imageProcessor: ImageProcessor;
  /** Of the adapters; null without LoRA. */
  readonly loraConfig: LoraConfig | null;
  /** Where the weights came from, in a few words. */
  readonly origin: string;
  /** What the user should know, a line each. */
  readonly warnings: readonly string[];
  /** What of the model is kept in 16 bits, in a line; null if nothing is. */
  readonly packedNote?: string | null;
}

type Weights = Iterable<[string, HostWeights | PackedHostWeights]>;

/** How weights are uploaded. */
interface OnTheWay {
  readonly change: (weights: Weights) => Weights;
  readonly signal: AbortSignal | undefined;
}

const NOTHING_FROZEN: FrozenWeights = { keepPacked: () => false, roundTo: () => null };

/** The tokenizer of a fresh model, with nanoVLM's extra tokens. */
async function freshTokenizer(config: VLMConfig): Promise<Tokenizer> {
  const base = config.lm_tokenizer === BUILTIN_SHAPES
    ? Tokenizer.fromJson(embeddedTokenizerFiles())
    : await Tokenizer.fromFolder(await resolveModelFolder(config.lm_tokenizer, { weights: false }));
  return base.withExtraTokens(config.vlm_extra_tokens, config.lm_chat_template);
}

/** A model with random weights. */
async function freshModel(
  section: ModelSection,
  seed: number,
  onTheWay: OnTheWay,
): Promise<PreparedModel> {
  const wished = section.vlm_config;
  const config: VLMConfig = {
    ...defaultVLMConfig(),
    ...wished,
    vlm_load_backbone_weights: false,
  };
  config.mp_image_token_length = wished.mp_image_token_length ?? imageTokensOf(wished) ??
    config.mp_image_token_length;
  const tokenizer = await freshTokenizer(config);
  config.extra_token_amount = Object.keys(config.vlm_extra_tokens).length;
  config.lm_vocab_size = wished.lm_vocab_size ?? tokenizer.vocabSize;
  config.lm_base_vocab_size = wished.lm_base_vocab_size ?? tokenizer.imageTokenId;
  const weights = releasedAfterUpload(initializeWeights(config, seed, {
    initPositionEmbedding: section.init_position_embedding,
    initializerRange: section.initializer_range,
  }));
  return await finish(config, weights, onTheWay, tokenizer, "fresh weights");
}

/** A model from SigLIP and Llama backbones, the projector fresh: nanoVLM's `load_backbone`. */
async function backboneModel(
  section: ModelSection,
  seed: number,
  onTheWay: OnTheWay,
  { keepPacked }: FrozenWeights,
): Promise<PreparedModel> {
  const config = { ...defaultVLMConfig(), ...section.vlm_config };
  const tokenizer = await freshTokenizer(config);
  const warnings: string[] = [];
  using converted = await convertBackbones({
    languageDir: await resolveModelFolder(config.lm_model_type),
    visionDir: await resolveModelFolder(config.vit_model_type),
    vlmConfig: {
      ...section.vlm_config,
      vit_model_type: config.vit_model_type,
      lm_model_type: config.lm_model_type,
      lm_tokenizer: config.lm_tokenizer,
    },
    seed,
    tokenizerSize: tokenizer.vocabSize,
    initPositionEmbedding: section.init_position_embedding,
    initializerRange: section.initializer_range,
    onWarning: (text) => warnings.push(text),
  });
  const weights = function* (): Generator<[string, HostWeights | PackedHostWeights]> {
    for (const { name } of converted.specs) {
      const values = converted.read(name);
      yield [name, (keepPacked(name) ? packExactly(values) : null) ?? values];
    }
  };
  const origin = `backbones ${config.vit_model_type} and ${config.lm_model_type}`;
  const finished = await finish(converted.config, weights(), onTheWay, tokenizer, origin);
  return { ...finished, warnings };
}

async function finish(
  config: VLMConfig,
  weights: Weights,
  { change, signal }: OnTheWay,
  tokenizer: Tokenizer,
  origin: string,
): Promise<PreparedModel> {
  const { imageTokenId } = tokenizer;
  return {
    model: await VisionLanguageModel.fill(config, change(weights), imageTokenId, signal),
    tokenizer,
    imageProcessor: ImageProcessor.fromConfig(config, { globalTile: usesGlobalTile(tokenizer) }),
    loraConfig: null,
    origin,
    warnings: [],
  };
}

/**
 * Makes or loads the model of a config.
 *
 * @param section the config's `model`
 * @param seed of fresh weights
 * @param training decides what LoRA leaves frozen, which is kept in 16 bits if nothing is lost;
 *   without it every weight is float32 and may be trained
 * @param signal ends it, with its reason as the error and nothing left on the device
 * @throws {Error} if a folder, file or Hub id is missing or does not fit
 */
export async function prepareModel(
  section: ModelSection,
  seed: number,
  training?: FrozenSettings,
  signal?: AbortSignal,
): Promise<PreparedModel> {
  const fresh = section.model_name_or_path === "initialize";
  const frozen = training ? frozenWeights(section, training) : NOTHING_FROZEN;
  const onTheWay: OnTheWay = { change: (weights) => roundFrozen(weights, frozen), signal };
  const prepared = fresh
    ? await (section.load_backbone ? backboneModel : freshModel)(section, seed, onTheWay, frozen)
    : await pretrainedModel(section, onTheWay, frozen);
  if (training) prepared.model.precision = trainingPrecision(training);
  if (!section.use_lora) return prepared;
  const { model } = prepared;
  const { loraConfig, warnings } = await addLora(model, {
    ...section.lora_config,
    base_model_name_or_path: fresh ? null : section.model_name_or_path,
  }, seed);
  return {
    ...prepared,
    loraConfig,
    warnings: [...prepared.warnings, ...warnings],
    packedNote: training ? packedNote(model, training) : null,
  };
}

async function pretrainedModel(
  section: ModelSection,
  { change, signal }: OnTheWay,
  { keepPacked }: FrozenWeights,
): Promise<PreparedModel> {
  const warnings: string[] = [];
  const origin = section.model_name_or_path;
  const loaded = await loadModel(origin, {
    onWarning: (text) => warnings.push(text),
    keepPacked,
    onTheWay: change,
    signal,
  });
  return { ...loaded, loraConfig: null, origin, warnings };
}

/**
 * Writes what a checkpoint or a final model holds into a folder: the adapter and the other
 * weights that train under LoRA, else the whole model; with tokenizer and image processor.
 *
 * @param prepared the model
 * @param trained names of the weights (nanoVLM's) that train beside adapters
 * @param folder exists already, and nothing reads it yet
 */
export async function writePreparedModel(
  prepared: PreparedModel,
  trained: readonly string[],
  folder: string,
  files: { tokenizer: boolean; imageProcessor: boolean } = {
    tokenizer: true,
    imageProcessor: true,
  },
): Promise<void> {
  const { model, tokenizer, imageProcessor, loraConfig } = prepared;
  if (loraConfig) {
    const layers = [...model.adapters];
    const [loraA, loraB, magnitudes] = await Promise.all([
      tensorsToSave(new Map(layers.map(([layer, adapter]) => [layer, adapter.loraA]))),
      tensorsToSave(new Map(layers.map(([layer, adapter]) => [layer, adapter.loraB]))),
      tensorsToSave(
        new Map(layers.flatMap(([layer, { magnitude }]) => magnitude ? [[layer, magnitude]] : [])),
      ),
    ]);
    await writeAdapterFiles(folder, model.config, {
      config: loraConfig,
      adapters: new Map(layers.map(([layer]) => [layer, {
        loraA: loraA.get(layer)!,
        loraB: loraB.get(layer)!,
        magnitude: magnitudes.get(layer) ?? null,
      }])),
      trained: await tensorsToSave(
        new Map(trained.map((name) => [name, model.weights.get(name)!])),
      ),
    });
  } else await writeModelFiles(folder, model.config, await weightsToSave(model));
  if (files.tokenizer) {
    await tokenizer.save(folder);
    await nameOwnTokenizer(folder);
  }
  if (files.imageProcessor) await imageProcessor.save(folder);
}
