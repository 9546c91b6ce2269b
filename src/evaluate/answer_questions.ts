/**
 * Many questions about pictures to greedy answers: pictures encoded once for all their questions,
 * questions of one picture behind one prefix, rows of like length together.
 *
 * @module
 */
import {
  forbiddenTokenIds,
  generateText,
  type PromptImage,
  type TextPrompt,
} from "../generate/generate_text.ts";
import type { VisionLanguageModel } from "../model/vision_language_model.ts";
import type { Tokenizer } from "../text/tokenizer.ts";

/** How to answer. */
export interface AnswerOptions {
  /** Questions that are answered side by side; 64 by default. */
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

/** Questions about the same pictures, and their places in the list. */
interface Group {
  readonly images: readonly PromptImage[];
  readonly places: number[];
  length: number;
}

function sameImages(a: readonly PromptImage[], b: readonly PromptImage[]): boolean {
  return a.length > 0 && a.length === b.length && a.every((image, i) => image === b[i]);
}

/** Neighbours with the same pictures, `most` at a time. */
function groupsOf(questions: readonly TextPrompt[], most: number): Group[] {
  const groups: Group[] = [];
  questions.forEach(({ messages, images = [] }, place) => {
    const characters = messages.reduce((sum, { content }) => sum + content.length, 0);
    const last = groups.at(-1);
    if (last && last.places.length < most && sameImages(last.images, images)) {
      last.places.push(place);
      last.length += characters;
    } else {
      const tiles = images.reduce((sum, { tileCount }) => sum + tileCount, 0);
      // A tile is some hundred characters' worth of tokens; only the order matters.
      groups.push({ images, places: [place], length: 256 * tiles + characters });
    }
  });
  return groups;
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
  const { batchSize = 64, maxNewTokens = 64, withoutAdapters, signal, onProgress } = options;
  const forbidden = forbiddenTokenIds(tokenizer, model.config.lm_vocab_size);
  const groups = groupsOf(questions, batchSize).sort((a, b) => b.length - a.length);
  const answers = new Array<string>(questions.length).fill("");
  let answered = 0;
  for (let first = 0; first < groups.length && !signal?.aborted;) {
    const places = [...groups[first++].places];
    while (first < groups.length && places.length + groups[first].places.length <= batchSize) {
      places.push(...groups[first++].places);
    }
    const generations = await generateText(
      model,
      tokenizer,
      places.map((place) => questions[place]),
      {
        greedy: true,
        maxNewTokens,
        forbiddenTokenIds: forbidden,
        withoutAdapters,
        signal,
      },
    );
    generations.forEach(({ text }, i) => answers[places[i]] = text);
    answered += places.length;
    onProgress?.(answered);
  }
  return answers;
}
