/**
 * Rows of a batch with shared prefixes: sequences with a common beginning (the turns of one
 * picture, chosen and rejected, a group's completions) lie in one row as a prefix and branches.
 * Each branch attends to the prefix and to itself, with the positions of a separate row. The
 * results equal those of separate rows, and the prefix is computed once.
 *
 * @module
 */
import { IGNORED_LABEL } from "../ignored_label.ts";
import { AttentionLayout } from "../ops/attention/attention_layout.ts";
import { BatchImages, type ImageTiles, type ModelBatch } from "./batch.ts";
import type { VLMConfig } from "../vlm_config.ts";

// B batch, T tokens

/** One sequence as tokens. */
export interface Sequence {
  readonly inputIds: ArrayLike<number>;
  /** Already shifted: −100, or the id that follows. */
  readonly labels: ArrayLike<number>;
  /** Pictures of its own after the shared ones, in the order of their image tokens; default: none. */
  readonly ownImages?: readonly ImageTiles[];
}

/** Prompt and answer as one sequence, the answer's tokens labelled. */
export function labelledAnswer(prompt: readonly number[], answer: readonly number[]): Sequence {
  const inputIds = [...prompt, ...answer];
  const labels = inputIds.map((_, t) =>
    t + 1 >= prompt.length && t + 1 < inputIds.length ? inputIds[t + 1] : IGNORED_LABEL
  );
  return { inputIds, labels };
}

/** One row: a prefix, then its branches one after the other. */
export interface PackedRow {
  readonly inputIds: number[];
  readonly labels: number[];
  /** Position of each token in its own sequence, from 0. */
  readonly positions: number[];
  /** First token of the branch that each token belongs to; 0 in the prefix. */
  readonly branchStarts: number[];
  /** Tokens of the prefix; 0 if the row holds a single sequence. */
  readonly prefixLength: number;
  readonly images: readonly ImageTiles[];
}

/**
 * Tokens up to the last label. Later tokens predict nothing, and no earlier token attends to them.
 */
function usedLength({ labels }: Sequence): number {
  for (let i = labels.length - 1; i >= 0; i--) if (labels[i] !== IGNORED_LABEL) return i + 1;
  return labels.length; // nothing is labelled: who asks wants the tokens
}

/** How many tokens all sequences share before the first label of any of them. */
function sharedLength(sequences: readonly Sequence[]): number {
  const [first, ...others] = sequences;
  let length = 0;
  for (; length < first.inputIds.length; length++) {
    const id = first.inputIds[length];
    const same = (sequence: Sequence) =>
      sequence.inputIds[length] === id && sequence.labels[length] === IGNORED_LABEL;
    if (first.labels[length] !== IGNORED_LABEL || !others.every(same)) break;
  }
  return length;
}

/** The number of tiles of pictures. */
const tileCount = (images: readonly ImageTiles[]): number =>
  images.reduce((sum, image) => sum + image.tileCount, 0);

/** Whether the image tokens of a sequence after its first `length` are those of its own pictures. */
function hasOwnImagesAfter(
  { inputIds, ownImages = [] }: Sequence,
  shared: readonly ImageTiles[],
  length: number,
  imageTokenId: number,
): boolean {
  let all = 0, after = 0;
  for (let i = 0; i < inputIds.length; i++) {
    if (inputIds[i] !== imageTokenId) continue;
    all++;
    if (i >= length) after++;
  }
  if (ownImages.length === 0) return after === 0;
  return after * tileCount([...shared, ...ownImages]) === all * tileCount(ownImages);
}

/**
 * Packs sequences that share their images into one row. The prefix ends before the first label, so
 * that each shared token predicts the same token in all sequences. Tokens after a sequence's last
 * label are left out: no loss depends on them.
 *
 * @param sequences at least one
 * @param images of the shared prefix
 * @param imageTokenId a prefix that does not hold all tokens of the shared images cannot be shared
 * @returns the row, or null if the sequences do not have the same images
 */
export function packBranches(
  sequences: readonly Sequence[],
  images: readonly ImageTiles[],
  imageTokenId: number,
): PackedRow | null {
  if (sequences.length === 1) {
    const [sequence] = sequences;
    const length = usedLength(sequence);
    return {
      inputIds: Array.from(sequence.inputIds).slice(0, length),
      labels: Array.from(sequence.labels).slice(0, length),
      positions: Array.from({ length }, (_, i) => i),
      branchStarts: new Array<number>(length).fill(0),
      prefixLength: 0,
      images: [...images, ...sequence.ownImages ?? []],
    };
  }
  const prefixLength = sharedLength(sequences);
  const [first] = sequences;
  const row = {
    inputIds: Array.from(first.inputIds).slice(0, prefixLength),
    labels: new Array<number>(prefixLength).fill(IGNORED_LABEL),
    positions: Array.from({ length: prefixLength }, (_, i) => i),
    branchStarts: new Array<number>(prefixLength).fill(0),
  };
  for (const sequence of sequences) {
    const { inputIds, labels } = sequence;
    if (!hasOwnImagesAfter(sequence, images, prefixLength, imageTokenId)) return null;
    const start = row.inputIds.length, end = usedLength(sequence);
    for (let i = prefixLength; i < end; i++) {
      row.inputIds.push(inputIds[i]);
      row.labels.push(labels[i]);
      row.positions.push(i);
      row.branchStarts.push(start);
    }
  }
  const own = sequences.flatMap((sequence) => sequence.ownImages ?? []);
  return { ...row, prefixLength, images: [...images, ...own] };
}

/**
 * Sequences about the same images as one row, as {@linkcode packBranches} makes it, or as a row
 * each if sharing is off or they have no common prefix.
 *
 * @param sequences at least one
 */
export function packRows(
  sequences: readonly Sequence[],
  images: readonly ImageTiles[],
  sharePrefix: boolean,
  imageTokenId: number,
): PackedRow[] {
  const shared = sharePrefix ? packBranches(sequences, images, imageTokenId) : null;
  if (shared !== null) return [shared];
  return sequences.map((sequence) => packBranches([sequence], images, imageTokenId)!);
}

/**
 * A batch of rows joined to one, without padding: only attention needs the start of each row. Its
 * labels are the rows', one after the other.
 *
 * @param rows at least one
 * @returns `batchSize` 1, and as many tokens as all rows have
 */
export function joinRows(rows: readonly PackedRow[], config: VLMConfig): ModelBatch {
  const joined = (of: (row: PackedRow) => readonly number[]) => Int32Array.from(rows.flatMap(of));
  const inputIds = joined((row) => row.inputIds);
  return withImages(rows, config, {
    ...{ batchSize: 1, tokens: inputIds.length, inputIds },
    labels: joined((row) => row.labels),
    positions: joined((row) => row.positions),
    layout: AttentionLayout.joined(rows),
  });
}

/** A batch with the images of its rows, and how both are freed. */
function withImages(
  rows: readonly PackedRow[],
  config: VLMConfig,
  batch: Omit<ModelBatch, "images" | "pictures" | "dispose">,
): ModelBatch {
  const images = new BatchImages(rows.flatMap((row) => row.images), config.vit_img_size);
  return {
    ...batch,
    pictures: images.pictures,
    get images() {
      return images.tensor;
    },
    dispose() {
      batch.layout.dispose();
      images.dispose();
    },
  };
}

/**
 * A batch of rows, padded on the left to the longest: for generation, whose cache has a row for
 * each prompt.
 *
 * @param rows at least one
 * @param padTokenId fills the padding
 */
export function batchRows(
  rows: readonly PackedRow[],
  padTokenId: number,
  config: VLMConfig,
): ModelBatch {
  const B = rows.length;
  const T = Math.max(...rows.map((row) => row.inputIds.length));
  const inputIds = new Int32Array(B * T).fill(padTokenId);
  const labels = new Int32Array(B * T).fill(IGNORED_LABEL);
  const positions = new Int32Array(B * T);
  const branchStarts = new Int32Array(B * T);
  const ends = new Int32Array(B * T);
  const starts = new Int32Array(B);
  const prefixEnds = new Int32Array(B);
  rows.forEach((row, b) => {
    const padding = T - row.inputIds.length;
    starts[b] = padding;
    prefixEnds[b] = padding + row.prefixLength;
    for (let i = 0; i < T; i++) {
      const at = b * T + i;
      if (i < padding) {
        positions[at] = i;
        branchStarts[at] = ends[at] = padding;
        continue;
      }
      const token = i - padding;
      inputIds[at] = row.inputIds[token];
      labels[at] = row.labels[token];
      positions[at] = padding + row.positions[token];
      branchStarts[at] = padding + row.branchStarts[token];
      ends[at] = i + 1;
    }
  });
  const layout = new AttentionLayout(B, T, T, starts, prefixEnds, branchStarts, ends);
  return withImages(rows, config, {
    ...{ batchSize: B, tokens: T, inputIds, positions, labels, layout },
  });
}
