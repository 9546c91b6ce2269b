/**
 * Packs prompts into the rows of a prefill. Prompts about the same pictures share a row: their
 * common beginning once, and the rest of each as a branch after it.
 *
 * @module
 */
import { IGNORED_LABEL } from "../ignored_label.ts";
import type { ImageTiles, ModelBatch } from "../model/batch.ts";
import { batchRows, type PackedRow } from "../model/branches.ts";
import type { VLMConfig } from "../vlm_config.ts";

// B rows, T tokens of the longest

/** Prompts that share their pictures. */
export interface PromptRow {
  /** In the order in which the prompts need them. */
  readonly images: readonly ImageTiles[];
  /** Token ids, image tokens included; at least one prompt of at least one token. */
  readonly prompts: readonly (readonly number[])[];
}

/** Position of a prompt's tokens in a batch: a prefix, maybe shared, and its own branch. */
export interface PromptPlace {
  readonly row: number;
  /** First token after the padding. */
  readonly start: number;
  readonly prefixEnd: number;
  /** The branch is empty if its end equals its start. */
  readonly branchStart: number;
  readonly branchEnd: number;
}

/** A batch that is ready to be prefilled. */
export interface PromptBatch {
  readonly batch: ModelBatch;
  /** One a prompt, in order. */
  readonly places: readonly PromptPlace[];
  /** The images of the batch in the order of its image tokens, with repeats. */
  readonly images: readonly ImageTiles[];
}

/** A prompt with its pictures. */
export interface PicturedPrompt {
  /** Token ids, image tokens included. */
  readonly ids: readonly number[];
  readonly images: readonly ImageTiles[];
}

/**
 * Neighbours with the same pictures (the same objects) in one row, so that the pictures are encoded
 * once.
 */
export function promptRows(prompts: Iterable<PicturedPrompt>): PromptRow[] {
  const rows: { images: readonly ImageTiles[]; prompts: (readonly number[])[] }[] = [];
  for (const { ids, images } of prompts) {
    const last = rows.at(-1);
    const same = last !== undefined && images.length > 0 && last.images.length === images.length &&
      last.images.every((image, i) => image === images[i]);
    if (same) last.prompts.push(ids);
    else rows.push({ images, prompts: [ids] });
  }
  return rows;
}

/** Length of what all prompts begin with. */
function commonLength(prompts: readonly (readonly number[])[]): number {
  const [first, ...others] = prompts;
  let length = 0;
  while (length < first.length && others.every((prompt) => prompt[length] === first[length])) {
    length++;
  }
  return length;
}

/** A row and the ends of its branches. */
interface Packed {
  readonly row: PackedRow;
  /** [start, end) of each prompt's branch in the row. */
  readonly branches: readonly (readonly [number, number])[];
}

function packOne(prompt: readonly number[]): Packed {
  const row: PackedRow = {
    inputIds: [...prompt],
    labels: new Array<number>(prompt.length).fill(IGNORED_LABEL),
    positions: prompt.map((_, i) => i),
    branchStarts: new Array<number>(prompt.length).fill(0),
    prefixLength: prompt.length,
    images: [],
  };
  return { row, branches: [[prompt.length, prompt.length]] };
}

function packShared(prompts: readonly (readonly number[])[], prefixLength: number): Packed {
  const inputIds = prompts[0].slice(0, prefixLength);
  const positions = inputIds.map((_, i) => i);
  const branchStarts = new Array<number>(prefixLength).fill(0);
  const branches = prompts.map((prompt): [number, number] => {
    const start = inputIds.length;
    for (let i = prefixLength; i < prompt.length; i++) {
      inputIds.push(prompt[i]);
      positions.push(i);
      branchStarts.push(start);
    }
    return [start, inputIds.length];
  });
  const labels = new Array<number>(inputIds.length).fill(IGNORED_LABEL);
  return { row: { inputIds, labels, positions, branchStarts, prefixLength, images: [] }, branches };
}

/**
 * Packs prompts into a left-padded batch.
 *
 * @param rows at least one
 * @param padTokenId fills the padding; no image token
 * @throws {TypeError} if a prompt has no token or one that the vocabulary lacks
 */
export function packPrompts(
  rows: readonly PromptRow[],
  padTokenId: number,
  imageTokenId: number,
  config: VLMConfig,
): PromptBatch {
  const packed: Packed[] = [];
  const images: ImageTiles[] = [];
  for (const { prompts, images: own } of rows) {
    for (const prompt of prompts) checkPrompt(prompt, config.lm_vocab_size);
    const shortest = Math.min(...prompts.map((prompt) => prompt.length));
    const shared = Math.min(commonLength(prompts), shortest - 1);
    const imagesShared = prompts.every((prompt) => prompt.lastIndexOf(imageTokenId) < shared);
    if (prompts.length > 1 && shared > 0 && imagesShared) {
      packed.push(packShared(prompts, shared));
      images.push(...own);
    } else {
      for (const prompt of prompts) {
        packed.push(packOne(prompt));
        images.push(...own);
      }
    }
  }
  const batch = batchRows(packed.map(({ row }) => row), padTokenId, config);
  const places = packed.flatMap(({ row, branches }, b) => {
    const start = batch.tokens - row.inputIds.length;
    return branches.map(([from, to]) => ({
      row: b,
      start,
      prefixEnd: start + row.prefixLength,
      branchStart: start + from,
      branchEnd: start + to,
    }));
  });
  return { batch, places, images };
}

function checkPrompt(prompt: readonly number[], vocabulary: number): void {
  if (prompt.length === 0) throw new TypeError("Cannot answer a prompt that has no token");
  for (const id of prompt) {
    if (!(id >= 0 && id < vocabulary)) {
      throw new TypeError(
        `Cannot answer a prompt with token id ${id}: the vocabulary has ${vocabulary} rows; is the ` +
          "tokenizer that of the model?",
      );
    }
  }
}

/** The prompts of a batch of plain rows, one a row. */
export function placesOfRows(batch: ModelBatch): PromptPlace[] {
  const end = batch.tokens;
  return Array.from(batch.layout.starts, (start, row) => ({
    row,
    start: Math.min(start, end - 1),
    prefixEnd: end,
    branchStart: end,
    branchEnd: end,
  }));
}
