/**
 * The model that a user works with: loaded from a folder or the Hub, asked, trained and saved.
 *
 * @module
 */
import { turnEventLoop } from "../device/event_loop.ts";
import type { ImageProcessor } from "../image/image_processor.ts";
import { deviceAdapter } from "../model/device_adapter.ts";
import { openPretrained, type OpenPretrainedOptions } from "../model/files/pretrained_folder.ts";
import { saveModel } from "../model/files/save_pretrained.ts";
import { releasedAfterUpload } from "../model/release_memory.ts";
import { type InitializeOptions, initializeWeights } from "../model/initialize.ts";
import type { HostWeights, PackedHostWeights } from "../model/packed_weights.ts";
import { VLM } from "../model/vlm.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { VLMConfig } from "../vlm_config.ts";
import type { TextGeneration } from "./generate_text.ts";
import {
  type GenerateInputs,
  generateWithModel,
  type ModelGenerateOptions,
} from "./generate_with_model.ts";

/** One vision-language model on the current tfjs backend, with its tokenizer and images. */
export class VisionLanguageModel extends VLM {
  /** From the model's folder; saved with the model. */
  tokenizer: Tokenizer | null = null;
  /** From the model's folder; saved with the model. */
  imageProcessor: ImageProcessor | null = null;
  /** Why a model from a folder has no tokenizer; empty if it has one. */
  tokenizerProblem = "";

  /**
   * Loads a model onto the current backend.
   *
   * @param dirOrId a model folder (nanoVLM, SmolVLM, Idefics3), a PEFT adapter's folder that names
   *   its base model, or a Hub id
   * @param options `adapter`: the folder of a PEFT adapter to put on top
   * @throws {Error} if a file is missing, damaged or does not fit
   *
   * @example Load, ask, free
   * ```ts ignore
   * await initBackend();
   * const model = await VisionLanguageModel.fromPretrained("runs/shapes/final");
   * const [{ text }] = await model.generate({ prompt: "What is this?", images: [png] });
   * model.dispose();
   * ```
   */
  static async fromPretrained(
    dirOrId: string,
    options: OpenPretrainedOptions = {},
  ): Promise<VisionLanguageModel> {
    using folder = await openPretrained(dirOrId, options);
    const { config, imageTokenId } = folder;
    const weights = folder.weights();
    const model = await VisionLanguageModel.fill(config, weights, imageTokenId, options.signal);
    for (const [layer, adapter] of folder.adapter?.adapters ?? []) {
      model.setAdapter(layer, deviceAdapter(adapter, 0));
    }
    model.tokenizer = folder.tokenizer;
    model.imageProcessor = folder.imageProcessor;
    model.tokenizerProblem = folder.tokenizerProblem;
    return model;
  }

  /**
   * A model with fresh weights. The first extra token (id `lm_base_vocab_size`) is the image token.
   *
   * @param config the architecture
   * @param options `seed` (default 0), and how position embeddings start
   */
  static fromConfig(
    config: VLMConfig,
    options: { seed?: number } & InitializeOptions = {},
  ): VisionLanguageModel {
    const { seed = 0, ...initialize } = options;
    const weights = releasedAfterUpload(initializeWeights(config, seed, initialize));
    return new VisionLanguageModel(config, weights, config.lm_base_vocab_size);
  }

  /**
   * Like the constructor, but lets other events run between weights, so that Ctrl-C works while
   * weights are made or read.
   *
   * @param signal cancels the loading: its reason is thrown and all tensors are freed
   */
  static async fill(
    config: VLMConfig,
    weights: Iterable<[string, HostWeights | PackedHostWeights]>,
    imageTokenId: number,
    signal?: AbortSignal,
  ): Promise<VisionLanguageModel> {
    const model = new VisionLanguageModel(config, [], imageTokenId);
    try {
      for (const weight of weights) {
        model.hold([weight]);
        await turnEventLoop();
        signal?.throwIfAborted();
      }
      return model;
    } catch (error) {
      model.dispose();
      throw error;
    }
  }

  /**
   * Generates completions of questions about pictures, or of left-padded ids.
   *
   * @param inputs `{ prompt, images }`, a list of them, or `{ inputIds, attentionMask, images }`
   * @param options tokens, sampling, stops, streaming; 256 new tokens at most by default
   * @returns completions in the order of the inputs, `numReturnSequences` of each
   * @throws {Error} if the inputs are texts and the model has no tokenizer
   */
  async generate(
    inputs: GenerateInputs,
    options: ModelGenerateOptions = {},
  ): Promise<TextGeneration[]> {
    return await generateWithModel(this, inputs, options);
  }

  /**
   * Saves config.json and model.safetensors, and the tokenizer and image processor if the model
   * has them.
   *
   * @param dir replaced as a whole, or not at all
   * @throws {Error} if the model has adapters, which have files of their own
   * @throws {SaveError} if the disk is full, read-only or access is denied
   */
  async savePretrained(dir: string): Promise<void> {
    await saveModel(this, dir);
  }
}
