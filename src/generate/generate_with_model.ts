/**
 * `VisionLanguageModel.generate`: ids or texts in, completions out, with the defaults of the
 * model's own tokenizer.
 *
 * @module
 */
import { answerEnds } from "../text/answer_end.ts";
import type { ImageProcessor } from "../image/image_processor.ts";
import type { RgbImage } from "../image/rgb_image.ts";
import type { ModelInputs } from "../model/batch.ts";
import type { VLM } from "../model/vlm.ts";
import type { ChatMessage, Tokenizer } from "../text/tokenizer.ts";
import { generateTokens } from "./engine.ts";
import {
  CompletionText,
  forbiddenTokenIds,
  generateText,
  type PromptImage,
  type TextGeneration,
  type TextOptions,
} from "./generate_text.ts";

/** A model that may have what turns texts and pictures into its inputs. */
export interface TextModel extends VLM {
  readonly tokenizer: Tokenizer | null;
  readonly imageProcessor: ImageProcessor | null;
  /** Why a model from a folder has no tokenizer; empty if it has one. */
  readonly tokenizerProblem: string;
}

/** A question about pictures. */
export interface UserPrompt {
  /** What the user says, or a conversation up to the answer. */
  readonly prompt: string | readonly ChatMessage[];
  /** Files, pixels, or what `ImageProcessor` returned. */
  readonly images?: readonly (Uint8Array | RgbImage | PromptImage)[];
}

/** What {@linkcode VisionLanguageModel.generate} answers: questions, or left-padded ids. */
export type GenerateInputs = UserPrompt | readonly UserPrompt[] | ModelInputs;

/** How {@linkcode VisionLanguageModel.generate} answers; 256 new tokens at most by default. */
export type ModelGenerateOptions = Partial<TextOptions>;

/** Default limit of new tokens, as in the `generate` command. */
const MAX_NEW_TOKENS = 256;

function isList(inputs: GenerateInputs): inputs is readonly UserPrompt[] {
  return Array.isArray(inputs);
}

/**
 * Generates completions.
 *
 * @param model text needs its `tokenizer` and `imageProcessor`; ids do not
 * @param inputs questions with pictures, or ids with tiles
 * @param options how to choose and when to stop
 * @returns completions in the order of the inputs, `numReturnSequences` of each; `text` is empty
 *   for ids of a model that has no tokenizer
 * @throws {Error} if texts are given and the model has no tokenizer
 */
export async function generateWithModel(
  model: TextModel,
  inputs: GenerateInputs,
  options: ModelGenerateOptions = {},
): Promise<TextGeneration[]> {
  const maxNewTokens = options.maxNewTokens ?? MAX_NEW_TOKENS;
  if (!isList(inputs) && "inputIds" in inputs) {
    return await generateFromIds(model, inputs, { ...options, maxNewTokens });
  }
  const { tokenizer, imageProcessor } = model;
  if (tokenizer === null || imageProcessor === null) {
    throw new Error(
      "Cannot generate from text: the model has no tokenizer" +
        (model.tokenizerProblem === "" ? "" : ` (${model.tokenizerProblem})`) +
        "; set its tokenizer and imageProcessor, or give inputIds",
    );
  }
  // The same file or pixels given twice are one picture.
  const processed = new Map<Uint8Array | RgbImage | PromptImage, Promise<PromptImage>>();
  const picture = (image: Uint8Array | RgbImage | PromptImage): Promise<PromptImage> => {
    const known = processed.get(image);
    if (known) return known;
    const made = image instanceof Uint8Array || !("tiles" in image)
      ? imageProcessor.process(image)
      : Promise.resolve(image);
    processed.set(image, made);
    return made;
  };
  const prompts = await Promise.all(
    (isList(inputs) ? inputs : [inputs]).map(async ({ prompt, images = [] }) => ({
      messages: typeof prompt === "string" ? [{ role: "user", content: prompt }] : prompt,
      images: await Promise.all(images.map(picture)),
    })),
  );
  return await generateText(model, tokenizer, prompts, { ...options, maxNewTokens });
}

async function generateFromIds(
  model: TextModel,
  inputs: ModelInputs,
  options: TextOptions,
): Promise<TextGeneration[]> {
  const { tokenizer } = model;
  const { stop, onText, ...rest } = options;
  if (tokenizer === null && (stop !== undefined || onText !== undefined)) {
    throw new Error(
      "Cannot stop at or stream texts: the model has no tokenizer; set its tokenizer",
    );
  }
  const stopTokenIds = options.stopTokenIds ?? (tokenizer ? answerEnds(tokenizer).stops : []);
  const texts = new Map<number, CompletionText>();
  const tell = (sequence: number, piece: string) => {
    if (piece !== "") onText?.(sequence, piece);
  };
  const generations = await generateTokens(model, inputs, {
    ...(tokenizer
      ? { forbiddenTokenIds: forbiddenTokenIds(tokenizer, model.config.lm_vocab_size) }
      : {}),
    ...rest,
    stopTokenIds,
    onToken: (sequence, token) => {
      if (tokenizer === null || stopTokenIds.includes(token)) return false;
      const text = texts.get(sequence) ?? new CompletionText(tokenizer, stop);
      texts.set(sequence, text);
      tell(sequence, text.push(token));
      return text.stopped;
    },
  });
  return generations.map((generation, sequence) => {
    const text = texts.get(sequence);
    if (text) tell(sequence, text.finish());
    return { ...generation, text: text?.text ?? "" };
  });
}
