/**
 * How SmolVLM writes conversations: pictures stand where the user puts them, each as rows of tiles
 * and the whole picture, between `<fake_token_around_image>`.
 *
 * Source: `processing_smolvlm.py` and `processing_idefics3.py` of Transformers.
 *
 * @module
 */
import type { ChatMessage } from "../../../text/chat_message.ts";
import { ImageGridError, type TileGrid } from "../../../text/image_string.ts";
import type { PromptFormat, TemplateTokenizer } from "../../../text/prompt_format.ts";

/** Roles of SmolVLM's special tokens, with the texts that they have if the files do not say. */
export const SMOLVLM_ROLES = {
  image_token: "<image>",
  fake_image_token: "<fake_token_around_image>",
  global_image_token: "<global-img>",
} as const;

/** A part of a message, as SmolVLM's chat templates take it. */
type Part = { readonly type: "text"; readonly text: string } | { readonly type: "image" };

/** A content with picture marks as parts. */
function partsOf(content: string, mark: string): Part[] {
  const parts = content.split(mark).flatMap((text, i): Part[] => [
    ...(i > 0 ? [{ type: "image" } as const] : []),
    ...(text === "" ? [] : [{ type: "text", text } as const]),
  ]);
  // Templates look at the first part.
  return parts.length > 0 ? parts : [{ type: "text", text: "" }];
}

/** The text of one picture; grid [0, 0]: the whole picture alone. */
function pictureText(
  tokenizer: TemplateTokenizer,
  [rows, columns]: TileGrid,
  tokensPerTile: number,
  index: number,
): string {
  const token = (role: keyof typeof SMOLVLM_ROLES) =>
    tokenizer.roleToken(role) ?? SMOLVLM_ROLES[role];
  const fake = token("fake_image_token");
  const patches = token("image_token").repeat(tokensPerTile);
  let text = "";
  for (let row = 1; row <= rows; row++) {
    for (let column = 1; column <= columns; column++) {
      const tile = tokenizer.roleToken(`r${row}c${column}`);
      if (tile === null) {
        throw new ImageGridError(
          `Cannot write a prompt for image ${index}: it has ${rows} x ${columns} tiles and the ` +
            `tokenizer has no token <row_${row}_col_${column}>; lower size.longest_edge in ` +
            `preprocessor_config.json or leave the image out`,
        );
      }
      text += fake + tile + patches;
    }
    text += "\n";
  }
  const line = rows > 0 ? "\n" : "";
  return `${text}${line}${fake}${token("global_image_token")}${patches}${fake}`;
}

/**
 * SmolVLM's prompts.
 *
 * @param imageMark the image token, which stands for a picture in a message and in the template's
 *   output
 */
export function smolVLMPrompts(imageMark: string): PromptFormat {
  return {
    imageMark,
    trainsAfterEnd: false,
    imageStrings: (tokenizer, grids, tokensPerTile) =>
      grids.map((grid, index) => pictureText(tokenizer, grid, tokensPerTile, index)),
    render(tokenizer, messages: readonly ChatMessage[], images, addGenerationPrompt) {
      const text = tokenizer.renderTemplate(
        messages.map(({ role, content }) => ({ role, content: partsOf(content, imageMark) })),
        addGenerationPrompt,
      );
      let next = 0;
      return text.replaceAll(imageMark, () => images[next++] ?? "");
    },
  };
}
