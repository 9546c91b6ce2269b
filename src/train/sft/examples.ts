/**
 * Questions with pictures → token ids, labels and tiles, ready for a batch.
 *
 * @module
 */
import { RowSkipped } from "../../data/data_error.ts";
import { type ChatMessage, turnMessages } from "../../data/rows/conversation.ts";
import type { VqaExample } from "../../data/rows/formats.ts";
import { skippingUnfitGrids } from "../../data/unfit_grid.ts";
import { IGNORED_LABEL } from "../../ignored_label.ts";
import type { ImageTiles } from "../../model/batch.ts";
import type { Row } from "../../data/rows/row.ts";
import {
  type AugmentationOptions,
  type AugmentationPlan,
  augmentationPlan,
  mayFlip,
} from "../../image/augment/plan.ts";
import { type PackedRow, packRows, type Sequence } from "../../model/branches.ts";
import type { ChatExample } from "../../text/chat_example.ts";
import type { BatchUnit } from "../batches/budget_batches.ts";
import type { ExampleParts } from "../batches/example_parts.ts";
import type { PlacedExample } from "../batches/example_stream.ts";
import type { TileCache } from "../batches/tile_cache.ts";

/** One example for SFT. */
export interface SFTExample extends Sequence {
  readonly inputIds: readonly number[];
  readonly labels: readonly number[];
  readonly images: readonly ImageTiles[];
  /** Examples of one row share their images; null: shares with none. */
  readonly row: number | null;
  /** What was done to the images; examples of a row share them if this is the same. */
  readonly view: string;
  /** What the example's loss is multiplied by. */
  readonly weight: number;
}

/** How SFT changes and weighs examples. */
export interface SFTExampleOptions {
  /** Changes of the pictures of training rows; null: none. */
  readonly augmentation?: (AugmentationOptions & { readonly seed: number }) | null;
  /** Column with the weight of a row; null: all weigh 1. */
  readonly weightColumn?: string | null;
}

/** Most tokens of tokenized texts that are cached: some 16 MB. */
const TEXT_CACHE_TOKENS = 1_000_000;

/** Turns rows into examples. */
export class SFTExampleMaker {
  /** Data sets ask the same questions about many pictures, and every epoch asks all of them again. */
  readonly #texts = new Map<string, ChatExample>();
  #textTokens = 0;

  /**
   * @param maxLength longest example, tokens; longer ones lose their end
   * @param options augmentation and weights
   */
  constructor(
    readonly parts: ExampleParts,
    readonly maxLength: number,
    readonly options: SFTExampleOptions = {},
  ) {}

  /** Decodes the pictures. */
  get tiles(): TileCache {
    return this.parts.tiles;
  }

  /**
   * @throws {RowSkipped} if an image cannot be used, the image tokens do not fit, or no answer
   *   is left
   */
  async make(placed: PlacedExample<VqaExample>): Promise<SFTExample> {
    const { example, row } = placed;
    const plans = this.#plans(placed);
    const view = plans.length === 0 ? "" : JSON.stringify(plans);
    const key = row === null ? null : String(row);
    const images = plans.length === 0
      ? await this.parts.tiles.process(example.images, key)
      : await this.parts.tiles.processChanged(example.images, plans, `${key} ${view}`);
    const messages = turnMessages(example.turns);
    const chat = this.#build(messages, images.map(({ grid }) => grid));
    const weight = rowWeight(example.columns, this.options.weightColumn ?? null);
    return { ...this.fit(chat), images, row, view, weight };
  }

  /** What is done to the pictures of a training row. */
  #plans({ example, drawn }: PlacedExample<VqaExample>): AugmentationPlan[] {
    const { augmentation } = this.options;
    if (!augmentation || drawn === undefined) return [];
    const flips = mayFlip(
      example.turns.flatMap(({ system, user, assistant }) => [system ?? "", user, assistant]),
    );
    return example.images.map((_, picture) =>
      augmentationPlan(augmentation, { seed: augmentation.seed, ...drawn, picture }, flips)
    );
  }

  /**
   * A conversation without what exceeds the maximum length.
   *
   * @throws {RowSkipped} if the image tokens do not fit, or no answer is left
   */
  fit(chat: ChatExample): Pick<SFTExample, "inputIds" | "labels"> {
    const lastImageToken = chat.inputIds.lastIndexOf(this.parts.imageTokenId);
    if (lastImageToken >= this.maxLength) {
      throw new RowSkipped(
        `${chat.imageTokenCount} image tokens do not fit into max_seq_length ${this.maxLength}; raise ` +
          "training.max_seq_length, or lower max_img_size",
      );
    }
    const inputIds = chat.inputIds.slice(0, this.maxLength);
    const labels = chat.labels.slice(0, this.maxLength);
    const isIgnored = (label: number) => label === IGNORED_LABEL;
    if (chat.labels.every(isIgnored)) {
      throw new RowSkipped(
        "the last answer has the weight 0, and sft.last_turn_only trains it alone",
      );
    }
    if (labels.every(isIgnored)) {
      throw new RowSkipped(`no token of an answer lies within max_seq_length ${this.maxLength}`);
    }
    return { inputIds, labels };
  }

  #build(messages: readonly ChatMessage[], grids: [number, number][]): ChatExample {
    const key = JSON.stringify([messages, grids]);
    const known = this.#texts.get(key);
    if (known) return known;
    const chat = skippingUnfitGrids(() => this.parts.builder.build(messages, grids));
    if (this.#textTokens + chat.inputIds.length <= TEXT_CACHE_TOKENS) {
      this.#texts.set(key, chat);
      this.#textTokens += chat.inputIds.length;
    }
    return chat;
  }
}

/**
 * The weight of a row.
 *
 * @param column its name; null: 1
 * @throws {RowSkipped} if the cell is no number from 0 on
 */
function rowWeight(columns: Row, column: string | null): number {
  if (column === null) return 1;
  const cell = columns[column];
  const weight = typeof cell === "string" && cell.trim() !== "" ? Number(cell) : cell;
  if (typeof weight === "number" && Number.isFinite(weight) && weight >= 0) return weight;
  throw new RowSkipped(
    `the weight in column ${column} is ${JSON.stringify(cell ?? null)}, want a number from 0 on`,
  );
}

/** Neighbours that share a picture, if `sharePrefix` is set; else each example alone. */
function sharingGroups(examples: readonly SFTExample[], sharePrefix: boolean): SFTExample[][] {
  const groups: SFTExample[][] = [];
  for (const example of examples) {
    const last = groups.at(-1);
    const joins = sharePrefix && example.row !== null && last?.[0].row === example.row &&
      last[0].view === example.view;
    if (joins) last!.push(example);
    else groups.push([example]);
  }
  return groups;
}

/**
 * Rows of a batch: neighbours that share a picture become branches of one row if `sharePrefix`
 * is set.
 *
 * @param examples in training order
 * @param sharePrefix whether to compute common prefixes once
 */
export function exampleRows(
  examples: readonly SFTExample[],
  sharePrefix: boolean,
  imageTokenId: number,
): PackedRow[] {
  return sharingGroups(examples, sharePrefix)
    .flatMap((group) => packRows(group, group[0].images, true, imageTokenId));
}

/**
 * Examples of a step with the tokens and pictures that they add to a micro-batch; those that become
 * one row stay together.
 */
export function exampleUnits(
  examples: readonly SFTExample[],
  sharePrefix: boolean,
  imageTokenId: number,
): BatchUnit<SFTExample>[] {
  return sharingGroups(examples, sharePrefix).map((group) => {
    const rows = exampleRows(group, sharePrefix, imageTokenId);
    return {
      examples: group,
      tokens: rows.reduce((sum, { inputIds }) => sum + inputIds.length, 0),
      images: rows.reduce((sum, { images }) => sum + images.length, 0),
    };
  });
}
