/**
 * The examples of a data set that take the most memory, found without decoding any picture.
 *
 * @module
 */
import { RowSkipped } from "../data/data_error.ts";
import { datasetFromRows } from "../data/load_dataset.ts";
import type { Dataset } from "../data/dataset.ts";
import type { VqaExample } from "../data/formats.ts";
import { skippingUnfitGrids } from "../evaluate/unfit_grid.ts";
import { dynamicSize } from "../image/dynamic_size.ts";
import { ImageDecodeError, readImageHeader } from "../image/image_header.ts";
import type { ImageProcessor } from "../image/image_processor.ts";
import type { SFTExampleMaker } from "./sft_examples.ts";
import type { SFTDataset } from "./sft_method.ts";

/** Most examples that are looked at. */
const MOST_EXAMPLES = 5000;

/** How large an example is. */
export interface ExampleSize {
  readonly tokens: number;
  /** Tiles of all its pictures. */
  readonly tiles: number;
}

/** The longest examples of a data set. */
export interface LongestExamples {
  /** They alone, the longest first. */
  readonly dataset: Dataset<VqaExample>;
  readonly sizes: readonly ExampleSize[];
  /** Examples that were looked at. */
  readonly looked: number;
}

/**
 * The size of an example by the headers of its pictures.
 *
 * @throws {RowSkipped} where a picture's header cannot be read, or it has too many tiles
 */
export function exampleSize(
  example: VqaExample,
  maker: SFTExampleMaker,
  processor: ImageProcessor,
): ExampleSize {
  const { splitImageSize: S, maxImgSize, resizeToMaxSideLen, globalTile } = processor.options;
  let tiles = 0;
  const grids = example.images.map(({ bytes, name }): [number, number] => {
    try {
      const { width, height } = readImageHeader(bytes);
      const size = dynamicSize(width, height, S, maxImgSize, resizeToMaxSideLen);
      const grid: [number, number] = [size.height / S, size.width / S];
      const cut = grid[0] * grid[1];
      tiles += cut > 1 && globalTile ? cut + 1 : cut;
      return grid;
    } catch (error) {
      if (!(error instanceof ImageDecodeError)) throw error;
      throw new RowSkipped(`${name}: ${error.message}`, "", { cause: error });
    }
  });
  const messages = example.turns.flatMap(({ user, assistant }) => [
    { role: "user", content: user },
    { role: "assistant", content: assistant },
  ]);
  const { inputIds } = skippingUnfitGrids(() => maker.builder.build(messages, grids));
  return { tokens: Math.min(inputIds.length, maker.maxLength), tiles };
}

/**
 * What `make` gives; null where its row cannot be used.
 *
 * @throws whatever else went wrong
 */
export function unlessSkipped<T>(make: () => T): T | null {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof RowSkipped)) throw error;
    return null;
  }
}

/** Examples spread evenly over a data set, or the first of a stream. */
async function* candidates(
  dataset: SFTDataset,
): AsyncGenerator<{ example: VqaExample; index: number }> {
  if (dataset.streaming) {
    let index = 0;
    for await (const example of dataset) {
      if (index === MOST_EXAMPLES) return;
      yield { example, index: index++ };
    }
    return;
  }
  const count = Math.min(dataset.length, MOST_EXAMPLES);
  for (let i = 0; i < count; i++) {
    const index = Math.floor((i * dataset.length) / count);
    const example = await dataset.tryGet(index);
    if (example !== null) yield { example, index };
  }
}

/**
 * Finds the examples that take the most memory.
 *
 * @param count how many
 * @param weight memory of an example, in any unit
 * @throws {Error} where no example can be used
 */
export async function longestExamples(
  dataset: SFTDataset,
  maker: SFTExampleMaker,
  processor: ImageProcessor,
  count: number,
  weight: (size: ExampleSize) => number,
): Promise<LongestExamples> {
  let longest: { example: VqaExample; index: number; size: ExampleSize }[] = [];
  let looked = 0;
  for await (const { example, index } of candidates(dataset)) {
    looked++;
    const size = unlessSkipped(() => exampleSize(example, maker, processor));
    if (size === null) continue;
    const last = longest.at(-1);
    if (longest.length === count && last && weight(size) <= weight(last.size)) continue;
    longest.push({ example, index, size });
    longest.sort((a, b) => weight(b.size) - weight(a.size));
    longest = longest.slice(0, count);
  }
  if (longest.length === 0) {
    throw new Error(`Cannot find the longest batch: no example of ${dataset.name} can be used`);
  }
  const rows = longest.map(({ example }) => ({
    images: example.images.map(({ bytes, name }) => ({ bytes, path: name })),
    texts: example.turns.map(({ user, assistant }) => ({ user, assistant })),
  }));
  return {
    dataset: dataset.streaming
      ? await datasetFromRows(rows, { format: "vqa", name: dataset.name, maxImagesPerExample: 1e9 })
      : dataset.select(longest.map(({ index }) => index)),
    sizes: longest.map(({ size }) => size),
    looked,
  };
}
