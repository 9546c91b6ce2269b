/**
 * Converts a user's inputs to the form that the passes read.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { IGNORED_LABEL } from "../ignored_label.ts";
import { AttentionLayout } from "../ops/attention/attention_layout.ts";
import type { VLMConfig } from "../vlm_config.ts";

// B batch, T tokens, N images, S image side

/** Tiles of one image, as `ImageProcessor` returns them. */
export interface ImageTiles {
  /** [tileCount, 3, S, S], values in 0 … 1. */
  readonly tiles: Float32Array;
  readonly tileCount: number;
}

/** Rows of ids: nested arrays, or an int32 tensor [B, T]. */
export type Ids = readonly (readonly number[])[] | readonly Int32Array[] | tf.Tensor;

/** Inputs of {@linkcode VisionLanguageModel.forward}. */
export interface ModelInputs {
  /** [B, T] */
  inputIds: Ids;
  /** [B, T], 1 for tokens and 0 for the padding on their left; default: all 1. */
  attentionMask?: Ids | null;
  /** [B, T], already shifted; −100 is not counted. */
  labels?: Ids | null;
  /** The rows' images in the order in which the rows need them: tiles, or a tensor [N, 3, S, S]. */
  images?: tf.Tensor | readonly ImageTiles[] | readonly (readonly ImageTiles[])[] | null;
}

/** A batch as the model works on it. */
export interface ModelBatch {
  /** B; joined rows (`joinRows()`) are one to everything but attention. */
  readonly batchSize: number;
  /** T; of joined rows, the tokens of all. */
  readonly tokens: number;
  /** [B·T] */
  readonly inputIds: Int32Array;
  /** [B·T] */
  readonly positions: Int32Array;
  /** [B·T] or null */
  readonly labels: Int32Array | null;
  /** Which keys each query attends to. */
  readonly layout: AttentionLayout;
  /** [N, 3, S, S] or null; made when it is first read, since kept features need no pixels. */
  readonly images: tf.Tensor4D | null;
  /** The pictures behind `images`, in order; null if the caller gave a tensor. */
  readonly pictures: readonly ImageTiles[] | null;
  /** Frees the tensors that the batch made (not those of the caller). */
  dispose(): void;
}

/** Rows of equal length, flattened. */
function flatten(what: string, ids: Ids): { values: Int32Array; rows: number; columns: number } {
  if (ids instanceof tf.Tensor) {
    if (ids.rank !== 2 || ids.dtype !== "int32") {
      throw new TypeError(
        `Cannot read ${what}: want an int32 tensor [B, T], got ${ids.dtype} [${ids.shape}]`,
      );
    }
    return { values: ids.dataSync() as Int32Array, rows: ids.shape[0], columns: ids.shape[1]! };
  }
  const rows = ids.length, columns = ids[0]?.length ?? 0;
  const values = new Int32Array(rows * columns);
  ids.forEach((row, b) => {
    if (row.length !== columns) {
      throw new TypeError(
        `Cannot read ${what}: row 0 has ${columns} entries, row ${b} has ${row.length}; pad the ` +
          "shorter rows on the left",
      );
    }
    values.set(row, b * columns);
  });
  return { values, rows, columns };
}

/** All tiles of all images as one tensor [N, 3, S, S]; null without any. */
export function imagesToTensor(
  images: NonNullable<ModelInputs["images"]>,
  side: number,
): tf.Tensor4D | null {
  if (images instanceof tf.Tensor) return images as tf.Tensor4D;
  const flat = (images as readonly (ImageTiles | readonly ImageTiles[])[]).flat() as ImageTiles[];
  const count = flat.reduce((sum, image) => sum + image.tileCount, 0);
  if (count === 0) return null;
  const size = 3 * side * side;
  const values = new Float32Array(count * size);
  let offset = 0;
  for (const { tiles, tileCount } of flat) {
    if (tiles.length !== tileCount * size) {
      throw new TypeError(
        `Cannot use an image: ${tileCount} tiles of [3, ${side}, ${side}] have ` +
          `${tileCount * size} values, got ${tiles.length}`,
      );
    }
    values.set(tiles, offset);
    offset += tiles.length;
  }
  return tf.tensor4d(values, [count, 3, side, side]);
}

/** The images of a batch as a tensor that is made when it is first read. */
export class BatchImages {
  readonly #side: number;
  #tensor: tf.Tensor4D | null = null;

  /** @param side S, pixels */
  constructor(readonly pictures: readonly ImageTiles[], side: number) {
    this.#side = side;
  }

  /**
   * [N, 3, S, S]; null without pictures.
   *
   * @throws {TypeError} if a picture has other sizes than the model wants
   */
  get tensor(): tf.Tensor4D | null {
    if (this.#tensor === null) {
      const made = imagesToTensor(this.pictures, this.#side);
      this.#tensor = made && tf.keep(made);
    }
    return this.#tensor;
  }

  /** Frees the tensor. */
  dispose(): void {
    this.#tensor?.dispose();
    this.#tensor = null;
  }
}

/** Number of zeros on the left of each row of a mask. */
function leftPadding(mask: Int32Array, rows: number, columns: number): Int32Array {
  const starts = new Int32Array(rows);
  for (let b = 0; b < rows; b++) {
    const row = mask.subarray(b * columns, (b + 1) * columns);
    const start = row.indexOf(1);
    starts[b] = start < 0 ? columns : start;
    if (start >= 0 && row.subarray(start).includes(0)) {
      throw new TypeError(
        `Cannot use attentionMask: row ${b} has a 0 after a 1; pad on the left`,
      );
    }
  }
  return starts;
}

/**
 * Checks a user's inputs and converts them.
 *
 * @throws {TypeError} if shapes or types do not fit
 */
export function toModelBatch(inputs: ModelInputs, config: VLMConfig): ModelBatch {
  const { values: inputIds, rows, columns } = flatten("inputIds", inputs.inputIds);
  for (const id of inputIds) {
    if (!(id >= 0 && id < config.lm_vocab_size)) {
      throw new TypeError(
        `Cannot embed token id ${id}: the vocabulary has ${config.lm_vocab_size} rows`,
      );
    }
  }
  const same = (what: string, ids: Ids): Int32Array => {
    const flat = flatten(what, ids);
    if (flat.rows !== rows || flat.columns !== columns) {
      throw new TypeError(
        `Cannot use ${what}: inputIds is [${rows}, ${columns}], ${what} is ` +
          `[${flat.rows}, ${flat.columns}]`,
      );
    }
    return flat.values;
  };
  const mask = inputs.attentionMask ? same("attentionMask", inputs.attentionMask) : null;
  const labels = inputs.labels ? same("labels", inputs.labels) : null;
  for (const label of labels ?? []) {
    if (label !== IGNORED_LABEL && !(label >= 0 && label < config.lm_vocab_size)) {
      throw new TypeError(
        `Cannot use label ${label}: want −100, which is not counted, or a token id below ` +
          `${config.lm_vocab_size}`,
      );
    }
  }
  const starts = mask ? leftPadding(mask, rows, columns) : new Int32Array(rows);
  const positions = new Int32Array(rows * columns);
  for (let i = 0; i < positions.length; i++) positions[i] = i % columns;
  const images = inputs.images ? imagesToTensor(inputs.images, config.vit_img_size) : null;
  if (images) {
    const S = config.vit_img_size;
    if (
      images.rank !== 4 || images.shape[1] !== 3 || images.shape[2] !== S || images.shape[3] !== S
    ) {
      throw new TypeError(`Cannot use images: want [N, 3, ${S}, ${S}], got [${images.shape}]`);
    }
  }
  const layout = AttentionLayout.causal(starts, columns);
  return {
    batchSize: rows,
    tokens: columns,
    inputIds,
    positions,
    labels,
    layout,
    images,
    pictures: inputs.images instanceof tf.Tensor
      ? null
      : [inputs.images ?? []].flat(2) as readonly ImageTiles[],
    dispose() {
      layout.dispose();
      if (images && !(inputs.images instanceof tf.Tensor)) images.dispose();
    },
  };
}

/** Tokens of a batch: those of its rows, and padding beside them. */
export function countTokens(
  { layout, batchSize, tokens }: ModelBatch,
): { tokens: number; padding: number } {
  const padding = layout.starts.reduce((sum, start) => sum + start, 0);
  return { tokens: batchSize * tokens - padding, padding };
}

/** Positions of the labels that are not −100, [M]. */
export function labelledRows(labels: ArrayLike<number>): Int32Array {
  const rows: number[] = [];
  for (let row = 0; row < labels.length; row++) if (labels[row] !== IGNORED_LABEL) rows.push(row);
  return Int32Array.from(rows);
}
