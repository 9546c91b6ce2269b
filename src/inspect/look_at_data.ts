/**
 * What a model will see of a data set: rows, pictures, tokens, and which of them carry loss.
 *
 * @module
 */
import { RowSkipped } from "../data/data_error.ts";
import type { Dataset } from "../data/dataset.ts";
import { type ChatMessage, turnMessages } from "../data/rows/conversation.ts";
import type {
  DatasetFormat,
  ExampleOf,
  GrpoExample,
  PreferenceExample,
  VqaExample,
} from "../data/rows/formats.ts";
import type { EncodedImage } from "../data/rows/image_cell.ts";
import { skippingUnfitGrids } from "../data/unfit_grid.ts";
import type { PromptImage } from "../generate/generate_text.ts";
import { type AugmentationOptions, mayFlip } from "../image/augment/plan.ts";
import { ImageDecodeError } from "../image/image_header.ts";
import type { ImageProcessor } from "../image/image_processor.ts";
import { ChatExampleBuilder, type LossTokens } from "../text/chat_example.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { changedPictures } from "./changed_pictures.ts";
import { type SeenTiles, seenTiles } from "./seen_tiles.ts";

/** What turns rows into a model's inputs. */
export interface ModelEyes {
  readonly tokenizer: Tokenizer;
  readonly imageProcessor: ImageProcessor;
  /** Image tokens of a tile. */
  readonly tokensPerTile: number;
}

/** A token with its text and whether it carries loss. */
export interface SeenToken {
  readonly text: string;
  readonly carriesLoss: boolean;
  readonly isImage: boolean;
}

/** A text with a name: `conversation`, `prompt`, `chosen`, `rejected`. */
export interface SeenText {
  readonly name: string;
  /** The text, if no tokenizer was given. */
  readonly text: string;
  /** null without a tokenizer. */
  readonly tokens: readonly SeenToken[] | null;
}

/** A row as a model sees it. */
export interface SeenRow {
  /** File and row. */
  readonly place: string;
  readonly pictures: readonly EncodedImage[];
  /** One a picture; empty without an image processor. */
  readonly tiles: readonly SeenTiles[];
  /** Of each picture: as augmentation changes it in the first epochs; empty without augmentation. */
  readonly changed: readonly (readonly string[])[];
  readonly texts: readonly SeenText[];
}

/** A data set in numbers, with some of its rows. */
export interface LookAtData {
  readonly name: string;
  readonly format: DatasetFormat;
  readonly columns: readonly string[];
  /** Usable examples. */
  readonly examples: number;
  /** How many examples have how many pictures, by the number of pictures. */
  readonly pictureCounts: ReadonlyMap<number, number>;
  /** Tokens of each example that was measured; null without a tokenizer. */
  readonly lengths: readonly number[] | null;
  readonly rows: readonly SeenRow[];
  readonly skipped: readonly { readonly place: string; readonly reason: string }[];
  readonly notes: readonly string[];
}

/** Texts of an example, each with the loss mask that training gives it. */
function textsOf<F extends DatasetFormat>(
  format: F,
  example: ExampleOf<F>,
): { name: string; messages: readonly ChatMessage[]; answer: string | null }[] {
  switch (format) {
    case "vqa":
      return [{
        name: "conversation",
        messages: turnMessages((example as VqaExample).turns),
        answer: null,
      }];
    case "preference": {
      const { prompt, chosen, rejected } = example as PreferenceExample;
      return [
        { name: "chosen", messages: prompt, answer: chosen },
        { name: "rejected", messages: prompt, answer: rejected },
      ];
    }
    default:
      return [{ name: "prompt", messages: (example as GrpoExample).prompt, answer: "" }];
  }
}

/** Looks at rows with or without a model. */
class RowReader<F extends DatasetFormat> {
  readonly #eyes: ModelEyes | null;
  readonly #builder: ChatExampleBuilder | null;

  constructor(
    readonly format: F,
    eyes: ModelEyes | null,
    readonly augmentation: (AugmentationOptions & { readonly seed: number }) | null,
    lossTokens: LossTokens,
  ) {
    this.#eyes = eyes;
    this.#builder = eyes === null ? null : new ChatExampleBuilder(eyes.tokenizer, {
      mpImageTokenLength: eyes.tokensPerTile,
      lossTokens,
    });
  }

  /** @throws {RowSkipped} if a picture cannot be used */
  async read(
    example: ExampleOf<F>,
    place: string,
    number: number,
  ): Promise<{ row: SeenRow; length: number }> {
    const images: PromptImage[] = [];
    for (const { bytes, name } of this.#eyes === null ? [] : example.images) {
      try {
        images.push(await this.#eyes!.imageProcessor.process(bytes));
      } catch (error) {
        if (!(error instanceof ImageDecodeError)) throw error;
        throw new RowSkipped(`${name}: ${error.message}`, "", { cause: error });
      }
    }
    const texts = textsOf(this.format, example).map(({ name, messages, answer }): SeenText => {
      const said = answer === null
        ? messages
        : [...messages, { role: "assistant", content: answer }];
      const text = said.map(({ role, content }) => `${role}: ${content}`).join("\n");
      return { name, text, tokens: this.#tokens(messages, answer, images) };
    });
    return {
      row: {
        place,
        pictures: example.images,
        changed: await this.#changed(example, number, texts.map(({ text }) => text)),
        tiles: images.map((image) => seenTiles(image, this.#eyes!.imageProcessor)),
        texts,
      },
      length: Math.max(0, ...texts.map(({ tokens }) => tokens?.length ?? 0)),
    };
  }

  /** @throws {RowSkipped} if a picture cannot be used */
  async #changed(
    { images }: ExampleOf<F>,
    row: number,
    texts: readonly string[],
  ): Promise<string[][]> {
    const { augmentation } = this;
    if (augmentation === null) return [];
    const place = { seed: augmentation.seed, row, mayFlip: mayFlip(texts) };
    const changed: string[][] = [];
    for (const [picture, { bytes, name }] of images.entries()) {
      try {
        changed.push(await changedPictures(bytes, augmentation, { ...place, picture }));
      } catch (error) {
        if (!(error instanceof ImageDecodeError)) throw error;
        throw new RowSkipped(`${name}: ${error.message}`, "", { cause: error });
      }
    }
    return changed;
  }

  #tokens(
    messages: readonly ChatMessage[],
    answer: string | null,
    images: readonly PromptImage[],
  ): SeenToken[] | null {
    const builder = this.#builder, eyes = this.#eyes;
    if (builder === null || eyes === null) return null;
    const grids = images.map(({ grid }) => grid);
    const { ids, carriesLoss } = skippingUnfitGrids(() => {
      if (answer === null) {
        const { inputIds, lossMask } = builder.build(messages, grids);
        return { ids: inputIds, carriesLoss: lossMask.map((mask) => mask === 1) };
      }
      const prompt = builder.buildPrompt(messages, grids);
      const completion = answer === "" ? [] : builder.buildCompletion(answer);
      const ids = [...prompt, ...completion];
      return { ids, carriesLoss: ids.map((_, i) => i >= prompt.length) };
    });
    const imageTokenId = eyes.tokenizer.roleId("image_token");
    return ids.map((id, i) => ({
      text: eyes.tokenizer.decode([id], { skipSpecialTokens: false }),
      carriesLoss: carriesLoss[i],
      isImage: id === imageTokenId,
    }));
  }
}

/** How to look. */
export interface LookOptions {
  /** What turns rows into tokens and tiles; null: texts and pictures alone. */
  readonly eyes: ModelEyes | null;
  /** Rows to show. */
  readonly rows: number;
  /** Examples whose tokens are counted; all if there are fewer. */
  readonly measured: number;
  /** Show pictures as these changes make them in the first epochs of SFT; default: not. */
  readonly augmentation?: (AugmentationOptions & { readonly seed: number }) | null;
  /** Which tokens of a conversation are shown as those with a loss; default: those of the answers. */
  readonly lossTokens?: LossTokens;
  readonly signal?: AbortSignal;
}

/**
 * Looks at a data set.
 *
 * @param dataset opened with all its rows
 * @throws {DataError} if more than 10 % of the rows cannot be used
 */
export async function lookAtData<F extends DatasetFormat>(
  dataset: Dataset<ExampleOf<F>>,
  format: F,
  { eyes, rows, measured, augmentation = null, lossTokens = "answers", signal }: LookOptions,
): Promise<LookAtData> {
  const reader = new RowReader(format, eyes, augmentation, lossTokens);
  const pictureCounts = new Map<number, number>();
  const shown: SeenRow[] = [], lengths: number[] = [];
  const count = Math.min(dataset.length, Math.max(rows, eyes === null ? 0 : measured));
  for (let i = 0; i < dataset.length && !signal?.aborted; i++) {
    const example = await dataset.tryGet(i);
    if (example === null) continue;
    const pictures = example.images.length;
    pictureCounts.set(pictures, (pictureCounts.get(pictures) ?? 0) + 1);
    if (i >= count) continue;
    const place = await dataset.place(i);
    try {
      const { row, length } = await reader.read(example, place, dataset.rowOf(i));
      if (shown.length < rows) shown.push(row);
      if (eyes !== null) lengths.push(length);
    } catch (error) {
      if (!(error instanceof RowSkipped)) throw error;
      dataset.skipped.add(error.at(place));
    }
  }
  return {
    name: dataset.name,
    format,
    columns: dataset.columns,
    examples: dataset.length,
    pictureCounts: new Map([...pictureCounts].sort(([a], [b]) => a - b)),
    lengths: eyes === null ? null : lengths,
    rows: shown,
    skipped: dataset.skipped.rows,
    notes: dataset.notes,
  };
}
