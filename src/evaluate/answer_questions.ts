/**
 * Many questions about pictures to greedy answers: pictures encoded once for all their questions,
 * the questions of one picture share one prefix, rows of like length together.
 *
 * @module
 */
import {
  forbiddenTokenIds,
  generateText,
  type PromptImage,
  type TextPrompt,
} from "../generate/generate_text.ts";
import type { SamplingParameters } from "../generate/sampling_filters.ts";
import type { VLMConfig } from "../vlm_config.ts";
import type { VisionLanguageModel } from "../generate/vision_language_model.ts";
import type { Tokenizer } from "../text/tokenizer.ts";

/** How to answer. */
export interface AnswerOptions {
  /** Most questions that are answered side by side; 64 by default, fewer if memory is short. */
  readonly batchSize?: number;
  /** Longest answer, tokens; 64 by default. */
  readonly maxNewTokens?: number;
  /** Run without the adapters. */
  readonly withoutAdapters?: boolean;
  /** Stops between two steps; answers are then cut or empty. */
  readonly signal?: AbortSignal;
  /** Called with the number of questions answered by now. */
  readonly onProgress?: (answered: number) => void;
}

/** How several answers a question are sampled. */
export interface AnswerSampling extends SamplingParameters {
  /** Answers a question. */
  readonly samples: number;
  readonly seed: number;
  /** Number of the first answer; with the seed it selects the random numbers. Default 0. */
  readonly firstId?: number;
}

/** Questions about the same pictures, and their places in the list. */
interface Group {
  readonly images: readonly PromptImage[];
  readonly places: number[];
  /** Tokens, as a guess. */
  length: number;
}

function sameImages(a: readonly PromptImage[], b: readonly PromptImage[]): boolean {
  return a.length > 0 && a.length === b.length && a.every((image, i) => image === b[i]);
}

/** Memory that keys, values and activations of a batch may take: 512 MiB. */
const BATCH_BYTES = 512 * 2 ** 20;
/** Activations of a block that live at the same time, in widths of the widest layer. */
const LIVE_ACTIVATIONS = 8;

/** Tokens that may be read at once, padding included. */
function tokenBudget(config: VLMConfig): number {
  const cached = 2 * config.lm_n_blocks * config.lm_n_kv_heads * config.lm_hidden_dim /
    config.lm_n_heads;
  const active = LIVE_ACTIVATIONS * config.lm_inter_dim;
  return Math.max(1, Math.floor(BATCH_BYTES / (4 * (cached + active))));
}

/** Neighbours with the same pictures, `most` at a time. */
function groupsOf(
  questions: readonly TextPrompt[],
  most: number,
  tokensPerTile: number,
): Group[] {
  const groups: Group[] = [];
  questions.forEach(({ messages, images = [] }, place) => {
    // An upper estimate: two characters a token, and a template around each message.
    const tokens = messages.reduce((sum, { content }) => sum + 8 + content.length / 2, 0);
    const last = groups.at(-1);
    if (last && last.places.length < most && sameImages(last.images, images)) {
      last.places.push(place);
      last.length += tokens;
    } else {
      const tiles = images.reduce((sum, { tileCount }) => sum + tileCount, 0);
      groups.push({ images, places: [place], length: tiles * tokensPerTile + tokens });
    }
  });
  return groups;
}

/**
 * Answers each question several times, at random. The same seed and question give the same answers
 * in any batch.
 *
 * @param model the model
 * @param tokenizer with the model's extra tokens and a chat template
 * @param questions as `answerQuestions()` takes them
 * @param options sizes, progress and how to sample; `batchSize` counts answers
 * @returns the answers of each question, in the order of the questions
 */
export async function sampleAnswers(
  model: VisionLanguageModel,
  tokenizer: Tokenizer,
  questions: readonly TextPrompt[],
  options: AnswerOptions & { readonly sampling: AnswerSampling },
): Promise<string[][]> {
  return await answerAll(model, tokenizer, questions, options);
}

/**
 * Answers questions greedily.
 *
 * @param model the model
 * @param tokenizer with the model's extra tokens and a chat template
 * @param questions conversations up to an answer; neighbours that hold the same picture objects
 *   share their encoding
 * @param options sizes and progress
 * @returns answers in the order of the questions
 */
export async function answerQuestions(
  model: VisionLanguageModel,
  tokenizer: Tokenizer,
  questions: readonly TextPrompt[],
  options: AnswerOptions = {},
): Promise<string[]> {
  return (await answerAll(model, tokenizer, questions, options)).map(([answer]) => answer);
}

async function answerAll(
  model: VisionLanguageModel,
  tokenizer: Tokenizer,
  questions: readonly TextPrompt[],
  options: AnswerOptions & { readonly sampling?: AnswerSampling },
): Promise<string[][]> {
  const { maxNewTokens = 64, withoutAdapters, signal, onProgress, sampling } = options;
  const { samples = 1, firstId = 0, ...filters } = sampling ?? {};
  const batchSize = Math.max(1, Math.floor((options.batchSize ?? 64) / samples));
  const forbidden = forbiddenTokenIds(tokenizer, model.config.lm_vocab_size);
  const budget = tokenBudget(model.config);
  const groups = groupsOf(questions, batchSize, model.config.mp_image_token_length + 1)
    .sort((a, b) => b.length - a.length);
  const answers = questions.map(() => new Array<string>(samples).fill(""));
  let answered = 0;
  for (let first = 0; first < groups.length && !signal?.aborted;) {
    const { length, places: longest } = groups[first++];
    const places = [...longest];
    for (let rows = 2; first < groups.length; rows++) {
      const next = groups[first];
      // Rows are padded to the longest, which comes first.
      const tokens = rows * (length + (samples - 1) * maxNewTokens);
      if (places.length + next.places.length > batchSize || tokens > budget) break;
      places.push(...next.places);
      first++;
    }
    const generations = await generateText(
      model,
      tokenizer,
      places.map((place) => questions[place]),
      {
        ...(sampling === undefined ? { greedy: true } : {
          ...filters,
          numReturnSequences: samples,
          sequenceIds: places.flatMap((place) =>
            Array.from({ length: samples }, (_, i) => firstId + place * samples + i)
          ),
        }),
        maxNewTokens,
        forbiddenTokenIds: forbidden,
        withoutAdapters,
        signal,
      },
    );
    generations.forEach(({ text }, i) => {
      answers[places[Math.floor(i / samples)]][i % samples] = text;
    });
    answered += places.length;
    onProgress?.(answered);
  }
  return answers;
}
