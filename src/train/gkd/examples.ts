/**
 * Conversations → the prompt of their last turn and its answer.
 *
 * @module
 */
import { turnMessages } from "../../data/rows/conversation.ts";
import type { VqaExample } from "../../data/rows/formats.ts";
import type { ExampleParts } from "../batches/example_parts.ts";
import type { PlacedExample } from "../batches/example_stream.ts";
import { type PromptedAnswer, promptedAnswer } from "../batches/prompted_answer.ts";
import type { TileCache } from "../batches/tile_cache.ts";

/** Turns rows into prompts with an answer. */
export class GKDExampleMaker {
  /** @param maxLength longest sequence, tokens; answers lose their end, prompts nothing */
  constructor(readonly parts: ExampleParts, readonly maxLength: number) {}

  /** Decodes the pictures. */
  get tiles(): TileCache {
    return this.parts.tiles;
  }

  /** @throws {RowSkipped} if an image cannot be used, the prompt leaves no room, or the answer has no text */
  async make({ example, row }: PlacedExample<VqaExample>): Promise<PromptedAnswer> {
    const messages = turnMessages(example.turns);
    const text = {
      images: example.images,
      prompt: messages.slice(0, -1),
      completion: messages.at(-1)!.content,
    };
    return await promptedAnswer(this.parts, this.maxLength, text, row);
  }
}
