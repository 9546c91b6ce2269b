/**
 * Rows with one answer → a labelled sequence, and the same prompt with the answer of another row,
 * which KTO estimates its divergence from.
 *
 * @module
 */
import type { UnpairedExample } from "../../data/rows/formats.ts";
import type { ExampleParts } from "../batches/example_parts.ts";
import type { PlacedExample } from "../batches/example_stream.ts";
import { type PromptedAnswer, promptedAnswer } from "../batches/prompted_answer.ts";
import type { TileCache } from "../batches/tile_cache.ts";

/** One answer for KTO. */
export interface KTOExample extends PromptedAnswer {
  readonly desirable: boolean;
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
    const made = await promptedAnswer(this.parts, this.maxLength, example, row);
    return { ...made, desirable: example.desirable };
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
