/**
 * `generate --chat`: a conversation in a terminal.
 *
 * @module
 */
import type { PromptImage } from "../src/generate/generate_text.ts";
import type { LoadedModel } from "../src/generate/load_model.ts";
import type { ChatMessage } from "../src/text/chat_message.ts";
import {
  type AnswerOptions,
  answerPrompt,
  readPictures,
  sureLine,
  writeOut,
} from "./generate_answer.ts";

const HELP = `a question, or:
  /image F …  a new conversation about other pictures
  /new        a new conversation about the same pictures
  /quit       ends; so does Ctrl-D`;

/** What a conversation is. */
interface Conversation {
  readonly images: readonly PromptImage[];
  readonly messages: readonly ChatMessage[];
}

/**
 * Talks with a user until the input ends. The model stays loaded, and earlier questions and answers
 * are part of each prompt.
 *
 * @param images paths of the first conversation's pictures
 * @param lines what the user types
 */
export async function chat(
  loaded: LoadedModel,
  images: readonly string[],
  options: AnswerOptions,
  { lines, signal, isTerminal }: {
    readonly lines: AsyncIterable<string>;
    readonly signal: AbortSignal;
    readonly isTerminal: boolean;
  },
): Promise<void> {
  let talk: Conversation = { images: await readPictures(loaded, images), messages: [] };
  const ask = () => isTerminal && writeOut("> ");
  if (isTerminal) console.error(HELP);
  ask();
  for await (const given of lines) {
    const line = given.trim();
    const [word, ...rest] = line.split(/\s+/);
    if (word === "/quit") return;
    if (word === "/new") talk = { ...talk, messages: [] };
    else if (word === "/image") {
      // A picture that cannot be read must not end the conversation.
      try {
        talk = { images: await readPictures(loaded, rest), messages: [] };
        console.error(`a new conversation about ${rest.length} pictures`);
      } catch (error) {
        console.error(error instanceof Error ? error.message : String(error));
      }
    } else if (word.startsWith("/")) console.error(HELP);
    else if (line !== "") {
      const messages = [...talk.messages, { role: "user" as const, content: line }];
      const { text, sure } = await answerPrompt(
        loaded,
        { messages, images: talk.images },
        options,
        { signal, onText: writeOut },
      );
      writeOut("\n");
      if (sure !== null) console.error(sureLine(sure));
      talk = { ...talk, messages: [...messages, { role: "assistant", content: text }] };
    }
    if (signal.aborted) return;
    ask();
  }
}
