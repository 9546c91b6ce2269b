/**
 * How a model family writes a conversation with pictures as text.
 *
 * @module
 */
import type { ChatMessage } from "./chat_message.ts";
import { imageString, type RoleTokens, type TileGrid } from "./image_string.ts";

/** What a format needs of a tokenizer. */
export interface TemplateTokenizer extends RoleTokens {
  /** Renders the chat template. Contents have the form that the template expects. */
  renderTemplate(messages: readonly unknown[], addGenerationPrompt: boolean): string;
}

/** A family's way to write conversations. */
export interface PromptFormat {
  /**
   * The mark that stands for a picture inside a message's content; null if pictures always come
   * before the first user text.
   */
  readonly imageMark: string | null;
  /** Whether text that the template writes after an answer's end token is trained too. */
  readonly trainsAfterEnd: boolean;
  /**
   * The text of each picture.
   *
   * @throws {ImageGridError} if a grid has more rows or columns than there are tokens for
   */
  imageStrings(
    tokenizer: TemplateTokenizer,
    grids: readonly TileGrid[],
    tokensPerTile: number,
  ): string[];
  /**
   * Renders messages, without or with picture marks.
   *
   * @param images text of each picture, in the order of the marks
   */
  render(
    tokenizer: TemplateTokenizer,
    messages: readonly ChatMessage[],
    images: readonly string[],
    addGenerationPrompt: boolean,
  ): string;
}

/** nanoVLM's: the pictures' tokens come before the first user text. */
export const NANOVLM_PROMPTS: PromptFormat = {
  imageMark: null,
  trainsAfterEnd: true,
  imageStrings: (tokenizer, grids, tokensPerTile) => [
    imageString(tokenizer, grids, tokensPerTile),
  ],
  render(tokenizer, messages, images, addGenerationPrompt) {
    const written = messages.map(({ role, content }) => ({ role, content }));
    const first = written.find(({ role }) => role === "user") ?? written[0];
    if (first) first.content = images.join("") + first.content;
    return tokenizer.renderTemplate(written, addGenerationPrompt);
  },
};
