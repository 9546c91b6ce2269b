/**
 * nanoVLM: images and text in, loss, log-probabilities or new tokens out.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { turnEventLoop } from "../device/event_loop.ts";
import type { AttentionLayout } from "../ops/attention/attention_layout.ts";
import type { DropoutKeys } from "../ops/dropout.ts";
import { embedding, embeddingOnDevice } from "../ops/embedding.ts";
import { headLogProbs } from "../ops/head_log_probs.ts";
import { linear } from "../ops/linear.ts";
import { type Precision, withPrecision } from "../ops/half/precision.ts";
import { rotaryAngles } from "../ops/attention/rotary_angles.ts";
import { replaceRows, selectRows } from "../ops/select_rows.ts";
import type { GenerateInputs, ModelGenerateOptions } from "../generate/generate_with_model.ts";
import type { TextGeneration } from "../generate/generate_text.ts";
import type { ImageProcessor } from "../image/image_processor.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { AdaptableModel } from "./adaptable_model.ts";
import { labelledRows, type ModelBatch, type ModelInputs, toModelBatch } from "./batch.ts";
import type { VLMConfig } from "../vlm_config.ts";
import { deviceAdapter } from "./device_adapter.ts";
import { type InitializeOptions, initializeWeights } from "./initialize.ts";
import {
  type DecoderInputs,
  type KeyValueCache,
  languageModel,
  rotaryOptions,
} from "./language_model.ts";
import { modalityProjector } from "./modality_projector.ts";
import type { HostWeights, PackedHostWeights } from "./packed_weights.ts";
import { openPretrained, type OpenPretrainedOptions } from "./files/pretrained_folder.ts";
import { saveModel } from "./files/save_pretrained.ts";
import { visionTransformer } from "./vision_transformer.ts";

export type { HostWeights, PackedHostWeights };

// B batch, T tokens, C channels, V vocabulary, N images, L image tokens an image, S image side

/** How a pass runs beside its batch. */
export interface PassOptions {
  /** Keys for dropout while training; without them nothing is dropped. */
  dropoutKeys?: DropoutKeys;
  /** Compute blocks again in the backward pass instead of keeping them. */
  checkpointing?: boolean;
  /** Run without the adapters: the reference model of DPO and GRPO under LoRA. */
  withoutAdapters?: boolean;
  /** Called with the name and output of each part. */
  observe?: (name: string, output: tf.Tensor) => void;
  /** Called with what log-probabilities come from: the states of the labelled tokens, [M, C]. */
  observeLabelled?: (states: tf.Tensor2D) => void;
}

/** What {@linkcode VisionLanguageModel.forward} returns. */
export interface ForwardOutput {
  /** [B, T, V], where asked for by `returnLogits`. */
  logits: tf.Tensor3D | null;
  /** Mean cross-entropy over the labelled tokens, in nats; null without labels. */
  loss: tf.Scalar | null;
}

/** One nanoVLM on the current tfjs backend. */
export class VisionLanguageModel extends AdaptableModel {
  /** Of the folder that the model came from; saved with it. */
  tokenizer: Tokenizer | null = null;
  /** Of the folder that the model came from; saved with it. */
  imageProcessor: ImageProcessor | null = null;
  /** How the model's passes compute; its weights are float32 either way. */
  precision: Precision = "float32";
  /** Why a model from a folder has no tokenizer; empty where it has one. */
  tokenizerProblem = "";

  /**
   * Loads a model onto the current backend.
   *
   * @param dirOrId a nanoVLM folder, a PEFT adapter's folder that names its base model, or a Hub id
   * @param options `adapter`: the folder of a PEFT adapter to put on top
   * @throws {Error} where a file is missing, damaged or does not fit
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
   * A model with fresh weights; the first extra token (`lm_base_vocab_size`) stands for patches.
   *
   * @param config the architecture
   * @param options `seed` (default 0), and how position embeddings start
   */
  static fromConfig(
    config: VLMConfig,
    options: { seed?: number } & InitializeOptions = {},
  ): VisionLanguageModel {
    const { seed = 0, ...initialize } = options;
    const weights = initializeWeights(config, seed, initialize);
    return new VisionLanguageModel(config, weights, config.lm_base_vocab_size);
  }

  /**
   * As the constructor, but in turns, so that Ctrl-C is seen while weights are made or read.
   *
   * @param signal ends it, with its reason as the error and nothing left on the device
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
   * Images to patch features: the vision encoder alone.
   *
   * @param images [N, 3, S, S], values in 0 … 1
   * @returns [N, P, C_vit]
   */
  imageFeatures(images: tf.Tensor4D, options: PassOptions = {}): tf.Tensor3D {
    const features = withPrecision(
      this.precision,
      () => visionTransformer(this.context(options), this.config, images, options.observe),
    );
    options.observe?.("vision_encoder", features);
    return features as tf.Tensor3D;
  }

  /**
   * Patch features to the embeddings that replace image tokens: the projector alone.
   *
   * @param features [N, P, C_vit]
   * @returns [N·L, C]
   */
  projectFeatures(features: tf.Tensor3D, options: PassOptions = {}): tf.Tensor2D {
    const projected = withPrecision(
      this.precision,
      () => modalityProjector(this.context(options), this.config, features),
    );
    options.observe?.("MP", projected);
    return projected.reshape([-1, this.config.lm_hidden_dim]); // [N·L, C]
  }

  /**
   * Images to the embeddings that replace their image tokens.
   *
   * @param images [N, 3, S, S], values in 0 … 1
   * @returns [N·L, C]
   */
  encodeImages(images: tf.Tensor4D, options: PassOptions = {}): tf.Tensor2D {
    return this.projectFeatures(this.imageFeatures(images, options), options);
  }

  /**
   * Token ids to embeddings, with the image tokens replaced in order by `imageEmbeddings`.
   *
   * @param inputIds [B·T]
   * @param imageEmbeddings [N·L, C], or null without images
   * @returns [B·T, C]
   * @throws {Error} where the number of image tokens differs from N·L
   */
  embed(inputIds: Int32Array, imageEmbeddings: tf.Tensor2D | null): tf.Tensor2D {
    const positions: number[] = [];
    inputIds.forEach((id, i) => id === this.imageTokenId && positions.push(i));
    const given = imageEmbeddings?.shape[0] ?? 0;
    if (positions.length !== given) {
      throw new Error(
        `Cannot place the images: the rows have ${positions.length} image tokens (id ` +
          `${this.imageTokenId}), the images give ${given} embeddings ` +
          `(${this.config.mp_image_token_length} each)`,
      );
    }
    const text = embedding(this.table, inputIds); // [B·T, C]
    if (imageEmbeddings === null) return text;
    return replaceRows(text, imageEmbeddings, Int32Array.from(positions)); // [B·T, C]
  }

  /**
   * Token ids that are on the device to embeddings, outside the tape.
   *
   * @param ids int32 [S], none of them the image token
   * @returns [S, C]
   */
  embedTokens(ids: tf.Tensor1D): tf.Tensor2D {
    return embeddingOnDevice(this.table, ids);
  }

  /**
   * The hidden states of a batch, after the final norm.
   *
   * @param batch ids, mask, images
   * @param imageFeatures of the batch's images where the vision encoder has run already
   * @param rows of [B·T] that are wanted, M of them; default: all
   * @returns [B, T, C], or [1, M, C] of the wanted rows
   */
  hiddenStates(
    batch: ModelBatch,
    options: PassOptions = {},
    imageFeatures?: tf.Tensor3D,
    rows?: Int32Array,
  ): tf.Tensor3D {
    const { batchSize: B, tokens: T } = batch;
    const features = imageFeatures ??
      (batch.images ? this.imageFeatures(batch.images, options) : null);
    const images = features ? this.projectFeatures(features, options) : null;
    const embeddings = this.embed(batch.inputIds, images).reshape([B, T, -1]) as tf.Tensor3D;
    const hidden = this.#decoder(embeddings, options, {
      angles: rotaryAngles(batch.positions, B, rotaryOptions(this.config)),
      layout: batch.layout,
      observe: options.observe,
      rows,
    }); // [B, T, C]
    options.observe?.("decoder_hidden", hidden);
    return hidden;
  }

  #decoder(embeddings: tf.Tensor3D, options: PassOptions, inputs: DecoderInputs): tf.Tensor3D {
    return withPrecision(
      this.precision,
      () => languageModel(this.context(options), this.config, embeddings, inputs),
    );
  }

  /**
   * Hidden states to logits: the head alone.
   *
   * @param hidden [..., C], after the final norm
   * @returns [..., V]
   */
  logits(hidden: tf.Tensor): tf.Tensor {
    return withPrecision(this.precision, () => linear(hidden, this.head));
  }

  /**
   * One chunk of a cached generation.
   *
   * @param embeddings [B, T, C] of the new tokens
   * @param positions [B·T] of the new tokens
   * @param layout new queries against all keys of the cache
   * @param cache extended by the new tokens
   * @returns hidden states of the new tokens, [B, T, C]
   */
  decode(
    embeddings: tf.Tensor3D,
    positions: Int32Array,
    layout: AttentionLayout,
    cache: KeyValueCache,
    options: PassOptions = {},
  ): tf.Tensor3D {
    return this.#decoder(embeddings, options, {
      angles: rotaryAngles(positions, embeddings.shape[0], rotaryOptions(this.config)),
      layout,
      cache,
    });
  }

  /**
   * Log-probabilities of the labelled tokens, row by row; the others are never computed.
   *
   * @param batch with labels, already shifted
   * @param temperature divides the logits
   * @returns [M] for the M labels that are not −100, in nats; null where there are none
   */
  labelLogProbs(
    batch: ModelBatch,
    options: PassOptions = {},
    imageFeatures?: tf.Tensor3D,
    temperature = 1,
  ): tf.Tensor1D | null {
    if (!batch.labels) throw new Error("Cannot compute log-probabilities: the batch has no labels");
    const rows = labelledRows(batch.labels);
    if (rows.length === 0) return null;
    // The others need not pass the end of the last block; who observes wants to see them all.
    const few = rows.length <= batch.labels.length / 2 && options.observe === undefined;
    const hidden = this.hiddenStates(batch, options, imageFeatures, few ? rows : undefined);
    return this.#labelLogProbs(hidden, batch.labels, rows, temperature, options.observeLabelled);
  }

  /** @param hidden [B, T, C], or [1, M, C] of the labelled rows alone */
  #labelLogProbs(
    hidden: tf.Tensor3D,
    labels: Int32Array,
    rows: Int32Array,
    temperature: number,
    observe?: PassOptions["observeLabelled"],
  ): tf.Tensor1D {
    const states = hidden.reshape([-1, this.config.lm_hidden_dim]) as tf.Tensor2D; // [B·T, C]
    const chosen = states.shape[0] === rows.length ? states : selectRows(states, rows); // [M, C]
    observe?.(chosen);
    const targets = rows.map((row) => labels[row]);
    return withPrecision(
      this.precision,
      () => headLogProbs(chosen, this.head, targets, temperature),
    ); // [M]
  }

  /**
   * Runs the model on a batch.
   *
   * @param inputs ids, mask, images, and labels that are already shifted (−100: not counted)
   * @returns loss (mean over the labelled tokens) and, where asked for, logits
   *
   * @example The loss of one row
   * ```ts ignore
   * const { loss } = model.forward({ inputIds: [[5, 6, 7]], labels: [[6, 7, -100]] });
   * console.log(await loss!.data());
   * ```
   */
  forward(inputs: ModelInputs & { returnLogits?: boolean }): ForwardOutput {
    const batch = toModelBatch(inputs, this.config);
    const wantsLogits = inputs.returnLogits === true || batch.labels === null;
    try {
      const [loss, logits] = tf.tidy(() => {
        const hidden = this.hiddenStates(batch); // [B, T, C]
        const rows = labelledRows(batch.labels ?? []);
        const loss = () => this.#labelLogProbs(hidden, batch.labels!, rows, 1).mean().neg();
        return [
          rows.length > 0 ? loss() : tf.scalar(NaN),
          ...(wantsLogits ? [this.logits(hidden)] : []), // [B, T, V]
        ];
      });
      if (batch.labels === null) loss.dispose();
      return {
        logits: wantsLogits ? logits as tf.Tensor3D : null,
        loss: batch.labels ? loss as tf.Scalar : null,
      };
    } finally {
      batch.dispose();
    }
  }

  /**
   * Generates completions of questions about pictures, or of left-padded ids.
   *
   * @param inputs `{ prompt, images }`, a list of them, or `{ inputIds, attentionMask, images }`
   * @param options tokens, sampling, stops, streaming; 256 new tokens at most by default
   * @returns completions in the order of the inputs, `numReturnSequences` of each
   * @throws {Error} where texts are given and the model has no tokenizer
   */
  async generate(
    inputs: GenerateInputs,
    options: ModelGenerateOptions = {},
  ): Promise<TextGeneration[]> {
    // Loaded when it is called: generation stands on the model, not the model on generation.
    const { generateWithModel } = await import("../generate/generate_with_model.ts");
    return await generateWithModel(this, inputs, options);
  }

  /**
   * Saves config.json and model.safetensors, and tokenizer and image processor where the model
   * has them.
   *
   * @param dir changes at once or not at all
   * @throws {Error} where the model has adapters, which have files of their own
   * @throws {SaveError} where the disk is full, read-only or forbidden
   */
  async savePretrained(dir: string): Promise<void> {
    await saveModel(this, dir);
  }
}
