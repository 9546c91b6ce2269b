/**
 * The passes of a vision-language model: images and token ids in; hidden states, logits, loss or
 * log-probabilities out. Loading, generating and saving are one level up
 * (`src/generate/vision_language_model.ts`).
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { AttentionLayout } from "../ops/attention/attention_layout.ts";
import type { DropoutKeys } from "../ops/activations.ts";
import { embedding, embeddingOnDevice, replaceRows, selectRows } from "../ops/row_ops.ts";
import { headEntropy, headLogProbs } from "../ops/head.ts";
import type { DivergenceOptions } from "../ops/divergence.ts";
import { headDivergenceRows, headEntropyRows } from "../ops/head_rows.ts";
import { type Precision, withPrecision } from "../ops/half/precision.ts";
import { rotaryAngles } from "../ops/attention/rotary_angles.ts";
import { AdaptableModel } from "./adaptable_model.ts";
import {
  type ImageTiles,
  labelledRows,
  type ModelBatch,
  type ModelInputs,
  toModelBatch,
} from "./batch.ts";
import { addEmbeddingNoise, type EmbeddingNoise } from "./embedding_noise.ts";
import { headLogits, headOperands } from "./language_head.ts";
import {
  type DecoderInputs,
  type KeyValueCache,
  languageModel,
  rotaryOptions,
} from "./language_model.ts";
import { modalityProjector } from "./modality_projector.ts";
import type { PictureFeatures } from "./picture_features.ts";
import type { Adapter } from "./weights_map.ts";
import { visionTransformer } from "./vision_transformer.ts";

// B batch, T tokens, C channels, V vocabulary, N images, L image tokens an image, S image side

/** Options of a pass. */
export interface PassOptions {
  /** Keys for dropout while training; without them there is no dropout. */
  dropoutKeys?: DropoutKeys;
  /** Recompute blocks in the backward pass instead of keeping their activations. */
  checkpointing?: boolean;
  /** Adds noise to the embeddings of text tokens: NEFTune. */
  embeddingNoise?: EmbeddingNoise;
  /** Run without the adapters: the reference model of DPO and GRPO under LoRA. */
  withoutAdapters?: boolean;
  /** Run with these adapters instead of the model's own, by the name of their layer. */
  adapters?: ReadonlyMap<string, Adapter>;
  /** Called with the name and output of each part. */
  observe?: (name: string, output: tf.Tensor) => void;
  /** Called with the hidden states of the labelled tokens, [M, C]. */
  observeLabelled?: (states: tf.Tensor2D) => void;
}

/** What {@linkcode VLM.forward} returns. */
export interface ForwardOutput {
  /** [B, T, V], if requested by `returnLogits`. */
  logits: tf.Tensor3D | null;
  /** Mean cross-entropy over the labelled tokens, in nats; null without labels. */
  loss: tf.Scalar | null;
}

/** The passes of one vision-language model on the current tfjs backend. */
export class VLM extends AdaptableModel {
  /** How the model's passes compute; its weights are float32 either way. */
  precision: Precision = "float32";
  /** Features of pictures while the vision encoder is frozen; null: each pass computes its own. */
  pictureFeatures: PictureFeatures | null = null;

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
   * Kept features to the embeddings that replace image tokens.
   *
   * @param features [N, P, C_vit], or embeddings already
   * @returns [N·L, C]
   */
  embedFeatures(features: tf.Tensor, options: PassOptions = {}): tf.Tensor2D {
    return features.rank === 2
      ? features as tf.Tensor2D
      : this.projectFeatures(features as tf.Tensor3D, options);
  }

  /** Features of {@linkcode pictureFeatures}; undefined if there are none, or no pictures. */
  keptFeatures(pictures: readonly ImageTiles[] | null): tf.Tensor | undefined {
    if (this.pictureFeatures === null || pictures === null || pictures.length === 0) return;
    return this.pictureFeatures.of(pictures);
  }

  /**
   * Token ids to embeddings, with the image tokens replaced in order by `imageEmbeddings`.
   *
   * @param inputIds [B·T]
   * @param imageEmbeddings [N·L, C], or null without images
   * @param noise on the embeddings of text tokens
   * @returns [B·T, C]
   * @throws {Error} if the number of image tokens differs from N·L
   */
  embed(
    inputIds: Int32Array,
    imageEmbeddings: tf.Tensor2D | null,
    noise?: EmbeddingNoise,
  ): tf.Tensor2D {
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
    const plain = embedding(this.table, inputIds); // [B·T, C]
    const text = noise === undefined ? plain : addEmbeddingNoise(plain, noise); // [B·T, C]
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
   * @param imageFeatures of the batch's images if the vision encoder has run already: [N, P, C_vit],
   *   or [N·L, C] if the projector has as well; default: kept ones, if the model keeps any
   * @param rows of [B·T] that are wanted, M of them; default: all
   * @returns [B, T, C], or [1, M, C] of the wanted rows
   */
  hiddenStates(
    batch: ModelBatch,
    options: PassOptions = {},
    imageFeatures?: tf.Tensor,
    rows?: Int32Array,
  ): tf.Tensor3D {
    const { batchSize: B, tokens: T } = batch;
    const features = imageFeatures ?? this.keptFeatures(batch.pictures) ??
      (batch.images ? this.imageFeatures(batch.images, options) : null);
    const images = features && this.embedFeatures(features, options);
    const embeddings = this.embed(batch.inputIds, images, options.embeddingNoise)
      .reshape([B, T, -1]) as tf.Tensor3D;
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
  logits(hidden: tf.Tensor, options: PassOptions = {}): tf.Tensor {
    return withPrecision(this.precision, () => headLogits(this.context(options), hidden));
  }

  /**
   * Entropies of the next token's distribution; no gradient.
   *
   * @param hidden [N, C], after the final norm
   * @param temperature divides the logits
   * @returns [N], in nats
   */
  entropies(hidden: tf.Tensor2D, temperature = 1): tf.Tensor1D {
    return withPrecision(this.precision, () =>
      tf.tidy(() => {
        const operands = headOperands(this.context({}), hidden);
        return headEntropy(operands.hidden, operands.head, temperature);
      }));
  }

  /**
   * The same with a gradient, for a term of a loss.
   *
   * @param hidden [N, C], after the final norm, on the tape
   * @param temperature divides the logits
   * @returns [N], in nats
   */
  entropyTerms(hidden: tf.Tensor2D, temperature = 1, options: PassOptions = {}): tf.Tensor1D {
    return withPrecision(this.precision, () => {
      const operands = headOperands(this.context(options), hidden);
      return headEntropyRows(operands.hidden, operands.head, temperature);
    });
  }

  /**
   * Divergences of the next token's distributions from those of a teacher, with a gradient.
   *
   * @param hidden [N, C], after the final norm, on the tape
   * @param teacher gives the teacher's logits of `rows` rows from `first` on, [rows, V]
   * @returns [N], in nats
   */
  divergenceTerms(
    hidden: tf.Tensor2D,
    teacher: (first: number, rows: number) => tf.Tensor2D,
    { divergence, ...options }: PassOptions & { readonly divergence: DivergenceOptions },
  ): tf.Tensor1D {
    return withPrecision(this.precision, () => {
      const operands = headOperands(this.context(options), hidden);
      return headDivergenceRows(operands.hidden, operands.head, teacher, divergence);
    });
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
   * Log-probabilities of the labelled tokens, row by row; no others are computed.
   *
   * @param batch with labels, already shifted
   * @param temperature divides the logits
   * @returns [M] for the M labels that are not −100, in nats; null if there are none
   */
  labelLogProbs(
    batch: ModelBatch,
    options: PassOptions = {},
    imageFeatures?: tf.Tensor,
    temperature = 1,
  ): tf.Tensor1D | null {
    if (!batch.labels) throw new Error("Cannot compute log-probabilities: the batch has no labels");
    const rows = labelledRows(batch.labels);
    if (rows.length === 0) return null;
    // Skip the other rows in the last block, unless an observer wants to see them all.
    const few = rows.length <= batch.labels.length / 2 && options.observe === undefined;
    const hidden = this.hiddenStates(batch, options, imageFeatures, few ? rows : undefined);
    return this.#labelLogProbs(hidden, batch.labels, rows, temperature, options);
  }

  /** @param hidden [B, T, C], or [1, M, C] of the labelled rows alone */
  #labelLogProbs(
    hidden: tf.Tensor3D,
    labels: Int32Array,
    rows: Int32Array,
    temperature: number,
    options: PassOptions = {},
  ): tf.Tensor1D {
    const states = hidden.reshape([-1, this.config.lm_hidden_dim]) as tf.Tensor2D; // [B·T, C]
    const chosen = states.shape[0] === rows.length ? states : selectRows(states, rows); // [M, C]
    options.observeLabelled?.(chosen);
    const targets = rows.map((row) => labels[row]);
    return withPrecision(this.precision, () => {
      const operands = headOperands(this.context(options), chosen);
      return headLogProbs(operands.hidden, operands.head, targets, temperature);
    }); // [M]
  }

  /**
   * Runs the model on a batch.
   *
   * @param inputs ids, mask, images, and labels that are already shifted (−100: not counted)
   * @returns loss (mean over the labelled tokens) and, if requested, logits
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
}
