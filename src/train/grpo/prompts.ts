/**
 * Rows of a grpo data set → prompts that a model can answer: token ids that fit, and tiles.
 *
 * @module
 */
import { RowSkipped } from "../../data/data_error.ts";
import type { GrpoExample } from "../../data/rows/formats.ts";
import { skippingUnfitGrids } from "../../data/unfit_grid.ts";
import type { ImageTiles } from "../../model/batch.ts";
import type { TileGrid } from "../../text/image_string.ts";
import type { ChatMessage } from "../../text/tokenizer.ts";
import type { ExampleParts } from "../batches/example_parts.ts";
import type { DataCursor, PlacedExample } from "../batches/example_stream.ts";
import type { TileCache } from "../batches/tile_cache.ts";

/** A prompt that is ready to be answered. */
export interface GRPOPrompt {
  /** Ends with the header of the answer to come. */
  readonly ids: readonly number[];
  /** In the order of the image tokens. */
  readonly images: readonly ImageTiles[];
  readonly example: GrpoExample;
  /** Where its example stands in the training data; null for held-out data. */
  readonly cursor: DataCursor | null;
}

/** How many entries two lists have in common at their beginning. */
function commonPrefix(a: readonly number[], b: readonly number[]): number {
  const most = Math.min(a.length, b.length);
  let length = 0;
  while (length < most && a[length] === b[length]) length++;
  return length;
}

/**
 * Cuts text out of a prompt until it fits: the beginning of the last message. The images and the
 * chat template's own tokens stay.
 *
 * @param ids the prompt
 * @param frame the same prompt with an empty last message
 * @param maxLength tokens
 * @param imageTokenId never cut
 * @throws {RowSkipped} if there is not that much text
 */
export function fitPrompt(
  ids: readonly number[],
  frame: readonly number[],
  maxLength: number,
  imageTokenId: number,
): number[] {
  const excess = ids.length - maxLength;
  if (excess <= 0) return [...ids];
  const start = commonPrefix(ids, frame);
  const end = ids.length -
    commonPrefix([...ids].reverse(), frame.slice(start).reverse());
  if (excess > end - start || ids.slice(start, start + excess).includes(imageTokenId)) {
    const images = ids.filter((id) => id === imageTokenId).length;
    throw new RowSkipped(
      `Cannot fit ${ids.length} prompt tokens into max_prompt_length ${maxLength}: ${images} of ` +
        `them are image tokens and ${Math.max(end - start, 0)} are text that may be cut; raise ` +
        "grpo.max_prompt_length or lower max_img_size",
    );
  }
  return [...ids.slice(0, start), ...ids.slice(start + excess)];
}

/** Turns rows into prompts. */
export class GRPOPromptMaker {
  /** @param maxLength `grpo.max_prompt_length`, tokens */
  constructor(readonly parts: ExampleParts, readonly maxLength: number) {}

  /** Decodes the pictures. */
  get tiles(): TileCache {
    return this.parts.tiles;
  }

  /**
   * @param cacheKey names the row's images in the tile cache; null: not remembered
   * @throws {RowSkipped} if an image cannot be used or the prompt does not fit
   */
  async make(
    { example }: Pick<PlacedExample<GrpoExample>, "example">,
    cacheKey: string | null,
    cursor: DataCursor | null,
  ): Promise<GRPOPrompt> {
    const images = await this.parts.tiles.process(example.images, cacheKey);
    const grids = images.map(({ grid }) => grid);
    const ids = this.#build(example.prompt, grids);
    if (ids.length <= this.maxLength) return { ids, images, example, cursor };
    const last = example.prompt.length - 1;
    const emptied = example.prompt.map((message, i) =>
      i === last ? { ...message, content: "" } : message
    );
    const frame = this.#build(emptied, grids);
    return {
      ids: fitPrompt(ids, frame, this.maxLength, this.parts.imageTokenId),
      images,
      example,
      cursor,
    };
  }

  #build(messages: readonly ChatMessage[], grids: readonly TileGrid[]): number[] {
    return skippingUnfitGrids(() => this.parts.builder.buildPrompt(messages, grids));
  }
}
