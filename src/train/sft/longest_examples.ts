/**
 * The examples of a data set that take the most memory, found without decoding any picture.
 *
 * @module
 */
import { RowSkipped } from "../../data/data_error.ts";
import { placedExamples, type PlacedOne, unlessSkipped } from "../../data/placed_examples.ts";
import { turnMessages } from "../../data/rows/conversation.ts";
import { datasetFromRows } from "../../data/load_dataset.ts";
import type { Dataset } from "../../data/dataset.ts";
import type { VqaExample } from "../../data/rows/formats.ts";
import { skippingUnfitGrids } from "../../data/unfit_grid.ts";
import { ImageDecodeError, readImageHeader } from "../../image/image_header.ts";
import type { ImageProcessor } from "../../image/image_processor.ts";
import { packRows, type Sequence } from "../../model/branches.ts";
import type { ExampleSize } from "../dry_run/example_size.ts";
import type { ChatExample } from "../../text/chat_example.ts";
import type { SFTExampleMaker } from "./examples.ts";
import type { SFTDataset } from "./method.ts";
import { sizeOfRows } from "../loop/training_method.ts";

/** Most examples that are looked at. */
const MOST_EXAMPLES = 5000;

/** The longest examples of a data set. */
export interface LongestExamples {
  /** Contains them and no other example. */
  readonly dataset: Dataset<VqaExample>;
  /** Examples that were looked at. */
  readonly looked: number;
}

/** An example as tokens; of its pictures only the sizes in their headers are known. */
interface SizedExample extends Sequence {
  readonly inputIds: readonly number[];
  readonly labels: readonly number[];
  readonly tiles: number;
}

function sizedExample(
  example: VqaExample,
  maker: SFTExampleMaker,
  processor: ImageProcessor,
): { chat: ChatExample; tiles: number } {
  let tiles = 0;
  const grids = example.images.map(({ bytes, name }): [number, number] => {
    try {
      const { width, height } = readImageHeader(bytes);
      const layout = processor.layout(width, height);
      tiles += layout.tiles;
      return layout.grid;
    } catch (error) {
      if (!(error instanceof ImageDecodeError)) throw error;
      throw new RowSkipped(`${name}: ${error.message}`, "", { cause: error });
    }
  });
  const messages = turnMessages(example.turns);
  const chat = skippingUnfitGrids(() => maker.parts.builder.build(messages, grids));
  return { chat, tiles };
}

/**
 * The size of an example by the headers of its pictures.
 *
 * @throws {RowSkipped} if a picture's header cannot be read, or it has too many tiles
 */
export function exampleSize(
  example: VqaExample,
  maker: SFTExampleMaker,
  processor: ImageProcessor,
): ExampleSize {
  const { chat, tiles } = sizedExample(example, maker, processor);
  return { tokens: Math.min(chat.inputIds.length, maker.maxLength), tiles };
}

/** The size of examples that share their pictures, put into rows as in training. */
function packedSize(
  examples: readonly SizedExample[],
  sharePrefix: boolean,
  imageTokenId: number,
): ExampleSize {
  const rows = packRows(examples, [], sharePrefix, imageTokenId);
  return { tokens: sizeOfRows(rows).tokens, tiles: rows.length * examples[0].tiles };
}

/** Examples of a data set that share a row, by their numbers. */
interface Candidate {
  readonly examples: readonly PlacedOne<VqaExample>[];
}

/** Rows spread evenly over a data set, or the first examples of a stream. */
async function* candidates(dataset: SFTDataset, sharePrefix: boolean): AsyncGenerator<Candidate> {
  if (dataset.streaming) {
    for await (const one of placedExamples(dataset)) {
      if (one.index === MOST_EXAMPLES) return;
      yield { examples: [one] };
    }
    return;
  }
  const rows: number[][] = [];
  let last: number | null = null;
  for (let i = 0; i < dataset.length; i++) {
    const row = dataset.rowOf(i);
    if (sharePrefix && row === last) rows[rows.length - 1].push(i);
    else rows.push([i]);
    last = row;
  }
  const share = Math.min(1, MOST_EXAMPLES / dataset.length);
  const count = Math.ceil(rows.length * share);
  for (let i = 0; i < count; i++) {
    const examples = [];
    for (const index of rows[Math.floor((i * rows.length) / count)]) {
      const example = await dataset.tryGet(index);
      if (example !== null) examples.push({ example, index, place: await dataset.place(index) });
    }
    if (examples.length > 0) yield { examples };
  }
}

/** How the longest examples are looked for. */
export interface LongestExamplesOptions {
  readonly maker: SFTExampleMaker;
  readonly processor: ImageProcessor;
  /** How many. */
  readonly count: number;
  /** Whether examples of a row share one prefix. */
  readonly sharePrefix: boolean;
  /** Memory of a row, in any unit. */
  readonly weight: (size: ExampleSize) => number;
}

/**
 * Finds the batch that takes the most memory: the rows that take the most for each of their
 * examples, the last one with as many of them as there is room for.
 *
 * @throws {Error} if no example can be used
 */
export async function longestExamples(
  dataset: SFTDataset,
  { maker, processor, count, sharePrefix, weight }: LongestExamplesOptions,
): Promise<LongestExamples> {
  let longest: { examples: Candidate["examples"]; share: number }[] = [];
  let looked = 0;
  for await (const { examples } of candidates(dataset, sharePrefix)) {
    looked += examples.length;
    const sized = examples.flatMap((one) => {
      const size = unlessSkipped(dataset.skipped, one.place, () => {
        const { chat, tiles } = sizedExample(one.example, maker, processor);
        return { ...maker.fit(chat), tiles };
      });
      return size === null ? [] : [{ one, size }];
    }).slice(0, count);
    if (sized.length === 0) continue;
    const size = packedSize(sized.map(({ size }) => size), sharePrefix, maker.parts.imageTokenId);
    longest.push({ examples: sized.map(({ one }) => one), share: weight(size) / sized.length });
    longest.sort((a, b) => b.share - a.share);
    longest = longest.slice(0, count);
  }
  if (longest.length === 0) {
    throw new Error(
      `Cannot find the longest batch: no example of ${dataset.name} can be used\n` +
        dataset.skipped.summary(),
    );
  }
  dataset.skipped.judge();
  const chosen = longest.flatMap(({ examples }) => examples).slice(0, count);
  const rows = chosen.map(({ example }) => ({
    images: example.images.map(({ bytes, name }) => ({ bytes, path: name })),
    messages: turnMessages(example.turns).map(({ role, content, weight = 1 }) => ({
      role,
      content,
      weight,
    })),
  }));
  return {
    dataset: dataset.streaming
      ? await datasetFromRows(rows, { format: "vqa", name: dataset.name, maxImagesPerExample: 1e9 })
      : dataset.select(chosen.map(({ index }) => index)),
    looked,
  };
}
