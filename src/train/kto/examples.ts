/**
 * Rows with one answer → a labelled sequence, and the same prompt with the answer of another row,
 * which KTO estimates its divergence from.
 *
 * @module
 */
import { RowSkipped } from "../../data/data_error.ts";
import type { UnpairedExample } from "../../data/rows/formats.ts";
import { skippingUnfitGrids } from "../../data/unfit_grid.ts";
import type { ImageTiles } from "../../model/batch.ts";
import { labelledAnswer, type PackedRow, packRows } from "../../model/branches.ts";
import type { ExampleParts } from "../batches/example_parts.ts";
import type { PlacedExample } from "../batches/example_stream.ts";
import type { TileCache } from "../batches/tile_cache.ts";

/** One answer for KTO. */
export interface KTOExample {
  readonly promptIds: readonly number[];
  /** The end token included; cut to what max_seq_length leaves. */
  readonly answerIds: readonly number[];
  readonly desirable: boolean;
  readonly images: readonly ImageTiles[];
  /** The data set's row; null if rows are not known (streams). */
  readonly row: number | null;
}

/** Turns rows into answers. */
export class KTOExampleMaker {
  /** @param maxLength longest sequence, tokens; answers lose their end, prompts nothing */
  constructor(readonly parts: ExampleParts, readonly maxLength: number) {}

  /** Decodes the pictures. */
  get tiles(): TileCache {
    return this.parts.tiles;
  }

  /** @throws {RowSkipped} if an image cannot be used, the prompt leaves no room, or the answer has no text */
  async make({ example, row }: PlacedExample<UnpairedExample>): Promise<KTOExample> {
    const { images: encoded, prompt, completion, desirable } = example;
    const images = await this.parts.tiles.process(encoded, row === null ? null : String(row));
    const grids = images.map(({ grid }) => grid);
    const { builder } = this.parts;
    const both = { prompt, chosen: completion, rejected: completion };
    const ids = skippingUnfitGrids(() => builder.buildPreference(both, grids));
    const room = this.maxLength - ids.promptIds.length;
    if (room < 1) {
      throw new RowSkipped(
        `the prompt has ${ids.promptIds.length} tokens, ${ids.imageTokenCount} of them of images; ` +
          `max_seq_length ${this.maxLength} leaves no room for an answer`,
      );
    }
    // A single token is the end token: the text was empty or had nothing but image tokens.
    if (ids.chosenIds.length < 2) throw new RowSkipped("the answer has no text");
    return {
      promptIds: ids.promptIds,
      answerIds: ids.chosenIds.slice(0, room),
      desirable,
      images,
      row,
    };
  }

  /**
   * Each prompt with the answer of the row before it, the first with that of the last: TRL's
   * mismatched pairs.
   */
  mismatched(examples: readonly KTOExample[]): KTOExample[] {
    return examples.map((example, i) => {
      const { answerIds } = examples[(i + examples.length - 1) % examples.length];
      const room = this.maxLength - example.promptIds.length;
      return { ...example, answerIds: answerIds.slice(0, room) };
    });
  }
}

/** Rows of a batch, one an answer; labels in the order of the answers. */
export function answerRows(
  examples: readonly KTOExample[],
  imageTokenId: number,
): PackedRow[] {
  return examples.flatMap(({ promptIds, answerIds, images }) =>
    packRows([labelledAnswer(promptIds, answerIds)], images, false, imageTokenId)
  );
}

/** Sums of token log-probabilities, one an answer, [N]. */
export function sumAnswers(
  examples: readonly KTOExample[],
  tokenLogProbs: ArrayLike<number>,
): Float64Array {
  let at = 0;
  return Float64Array.from(examples, ({ answerIds }) => {
    let sum = 0;
    for (const end = at + answerIds.length; at < end; at++) sum += tokenLogProbs[at];
    return sum;
  });
}

/** The backward pass of {@linkcode sumAnswers}: each token gets its answer's gradient. */
export function spreadAnswers(
  examples: readonly KTOExample[],
  byAnswer: ArrayLike<number>,
): Float32Array {
  return Float32Array.from(
    examples.flatMap(({ answerIds }, i) => answerIds.map(() => byAnswer[i])),
  );
}
