/**
 * Conversations as token ids, with the labels that training needs.
 *
 * @module
 */
import { answerEnds } from "./answer_end.ts";
import { IGNORED_LABEL } from "../ignored_label.ts";
import type { TileGrid } from "./image_string.ts";
import type { ChatMessage, Tokenizer } from "./tokenizer.ts";

/** One conversation as ids. All lists have the same length T. */
export interface ChatExample {
  inputIds: number[];
  /** Already shifted: `labels[t]` is the id at t + 1 if that token carries a loss, else −100. */
  labels: number[];
  /**
   * 1 where `inputIds[t]` carries a loss: by default where it belongs to an answer, which is its
   * text, `<|im_end|>` and the newline after it.
   */
  lossMask: number[];
  attentionMask: number[];
  /** Number of image tokens among the ids. */
  imageTokenCount: number;
}

/** A prompt and two answers to it, as ids. */
export interface PreferenceExample {
  promptIds: number[];
  chosenIds: number[];
  rejectedIds: number[];
  imageTokenCount: number;
}

/** A message of training data. */
export interface ConversationMessage extends ChatMessage {
  /** 0: the answer carries no loss. */
  readonly weight?: 0;
  /** Where in the content its pictures stand, in characters. */
  readonly pictures?: readonly number[];
}

/** Messages as a family's template takes them, and the texts of the pictures still to place. */
interface PreparedMessages {
  readonly messages: readonly ChatMessage[];
  readonly images: readonly string[];
}

/**
 * Which tokens of a conversation carry a loss: those of the answers; those of the last answer; or all
 * but those that stand for pictures.
 */
export type LossTokens = "answers" | "last_answer" | "all";

/** Options of `ChatExampleBuilder`. */
export interface ChatExampleOptions {
  /** Image tokens a tile: the config's `mp_image_token_length`. */
  mpImageTokenLength: number;
  /**
   * Which extra tokens typed in the data's texts are removed. `all` (default): the image,
   * global-image and row/column tokens; `image`: only the image token, as nanoVLM does. Chat
   * tokens such as `<|im_end|>` are encoded as special tokens, as in nanoVLM.
   */
  stripTypedTokens?: "all" | "image";
  /** Which tokens are labelled; default: those of the answers. */
  lossTokens?: LossTokens;
}

/** A text that no template contains. */
const PROBE = "xzyvd";

/** Builds training examples and prompts from messages and the tile grids of their images. */
export class ChatExampleBuilder {
  readonly #tokenizer: Tokenizer;
  readonly #mpImageTokenLength: number;
  readonly #typedTokens: string[];
  readonly #imageTokenId: number | null;
  readonly #lossTokens: LossTokens;
  readonly #messageStart: string | null;
  readonly #answerHeaderLength: number;
  readonly #imageStrings = new Map<string, readonly string[]>();

  /** @throws {Error} if the tokenizer has no chat template or the template drops answers */
  constructor(tokenizer: Tokenizer, options: ChatExampleOptions) {
    this.#tokenizer = tokenizer;
    this.#mpImageTokenLength = options.mpImageTokenLength;
    this.#imageTokenId = tokenizer.roleId("image_token");
    this.#lossTokens = options.lossTokens ?? "answers";
    const extra = tokenizer.extraTokens;
    const typed = (options.stripTypedTokens ?? "all") === "all"
      ? Object.values(extra)
      : [extra.image_token ?? ""];
    this.#typedTokens = typed.filter((token) => token.length > 0);
    const probe = tokenizer.applyChatTemplate([{ role: "assistant", content: PROBE }]);
    const at = probe.indexOf(PROBE);
    if (at < 0) {
      throw new Error(
        "Cannot build training examples: the chat template does not print an assistant message " +
          "that stands alone; wanted one that prints every message, e.g. the config's default " +
          "lm_chat_template",
      );
    }
    // If each message begins with a special token, messages can be encoded one by one.
    const first = tokenizer.encode(probe)[0];
    this.#messageStart = tokenizer.isSpecial(first) ? tokenizer.idToToken(first) : null;
    this.#answerHeaderLength = tokenizer.encode(probe.slice(0, at)).length;
  }

  /** The text of these images, cached by grid. */
  imageString(grids: readonly TileGrid[]): string {
    return this.#images(grids).join("");
  }

  #images(grids: readonly TileGrid[]): readonly string[] {
    if (grids.length === 0) return [];
    const key = grids.map(([rows, columns]) => `${rows}x${columns}`).join(",");
    let texts = this.#imageStrings.get(key);
    if (texts === undefined) {
      const tokenizer = this.#tokenizer;
      texts = tokenizer.promptFormat.imageStrings(tokenizer, grids, this.#mpImageTokenLength);
      if (this.#imageStrings.size < 1000) this.#imageStrings.set(key, texts);
    }
    return texts;
  }

  /** Removes typed extra tokens, also those that appear when another one is removed. */
  stripTypedTokens(text: string, keep: string | null = null): string {
    for (let before = ""; before !== text;) {
      before = text;
      for (const token of this.#typedTokens) {
        if (token === keep) continue;
        if (text.includes(token)) text = text.replaceAll(token, "");
      }
    }
    return text;
  }

  /** Messages that place every picture have it there; else see `#clean`. */
  #prepare(
    messages: readonly ConversationMessage[],
    grids: readonly TileGrid[],
  ): PreparedMessages {
    const images = this.#images(grids);
    const placed = messages.reduce((sum, { pictures }) => sum + (pictures?.length ?? 0), 0);
    if (grids.length === 0 || placed !== grids.length) {
      return { messages: this.#clean(messages, grids.length), images };
    }
    const { imageMark } = this.#tokenizer.promptFormat;
    let next = 0;
    const withPictures = messages.map(({ role, content, pictures = [] }) => {
      let text = "", from = 0;
      const own = grids.slice(next, next + pictures.length);
      next += pictures.length;
      for (const [index, offset] of pictures.entries()) {
        text += this.stripTypedTokens(content.slice(from, offset));
        text += imageMark ?? this.#oneOfImages(own, index);
        from = Math.min(offset, content.length);
      }
      return { role, content: text + this.stripTypedTokens(content.slice(from)) };
    });
    return { messages: withPictures, images: imageMark === null ? [] : images };
  }

  /**
   * The text of one of a message's pictures, numbered as `imageString` numbers them. Numbers count
   * within the message, so that what follows changes nothing in what was said before.
   */
  #oneOfImages(grids: readonly TileGrid[], index: number): string {
    const own = this.imageString([grids[index]]);
    return grids.length > 1 ? `<image: ${index}>${own}` : own;
  }

  /**
   * The messages without typed extra tokens. If the family has a mark for pictures, and the texts
   * have just as many marks as there are pictures, the marks stay: they say where the pictures
   * are. Else pictures come before the first user text.
   */
  #clean(messages: readonly ChatMessage[], imageCount: number): ChatMessage[] {
    const { imageMark } = this.#tokenizer.promptFormat;
    const strip = (keep: string | null) =>
      messages.map(({ role, content }) => ({
        role,
        content: this.stripTypedTokens(content, keep),
      }));
    if (imageMark === null || imageCount === 0) return strip(null);
    const marked = strip(imageMark);
    const marks = marked.reduce((sum, { content }) => sum + content.split(imageMark).length - 1, 0);
    if (marks === imageCount) return marked;
    const clean = strip(null);
    const first = clean.find(({ role }) => role === "user") ?? clean[0];
    if (first) first.content = imageMark.repeat(imageCount) + first.content;
    return clean;
  }

  #render(
    messages: readonly ChatMessage[],
    images: readonly string[],
    addGenerationPrompt = false,
  ): string {
    const tokenizer = this.#tokenizer;
    return tokenizer.promptFormat.render(tokenizer, messages, images, addGenerationPrompt);
  }

  /**
   * A whole conversation with labels on each answer: nanoVLM's `VQADataset`; or with those that
   * `lossTokens` asks for.
   *
   * @param messages in order, answers with the role `assistant`
   * @param grids one an image; the images stand where the messages place them, else
   *   before the first user's text
   * @throws {ImageGridError} if an image has too many tiles
   * @throws {Error} if the chat template does not keep the order of messages
   */
  build(messages: readonly ConversationMessage[], grids: readonly TileGrid[]): ChatExample {
    const prepared = this.#prepare(messages, grids);
    const { inputIds, lossMask } = this.#lossTokens === "all"
      ? this.#encodeAll(prepared, messages)
      : this.#encode(prepared, this.#learnt(messages));
    const labels = inputIds.map((_, t) =>
      t + 1 < inputIds.length && lossMask[t + 1] === 1 ? inputIds[t + 1] : IGNORED_LABEL
    );
    return {
      inputIds,
      labels,
      lossMask,
      attentionMask: new Array<number>(inputIds.length).fill(1),
      imageTokenCount: this.#countImageTokens(inputIds),
    };
  }

  /**
   * One example for each answer (`dataset.split_turns`): the system messages, the messages since
   * the answer before, the answer; the images stand before the first user's text of each.
   */
  buildTurns(messages: readonly ConversationMessage[], grids: readonly TileGrid[]): ChatExample[] {
    return splitTurns(messages).map((turn) => this.build(turn, grids));
  }

  /**
   * A prompt that ends with the header of the answer to come.
   *
   * @param messages in order, the last one is not an answer
   * @param grids one an image; the images stand where the messages place them, else
   *   before the first user's text
   */
  buildPrompt(messages: readonly ConversationMessage[], grids: readonly TileGrid[]): number[] {
    const prepared = this.#prepare(messages, grids);
    return this.#tokenizer.encode(this.#render(prepared.messages, prepared.images, true));
  }

  /**
   * What follows an answer's end token if somebody replies: the rest of the template's turn, the
   * reply with its pictures before its text, and the header of the next answer.
   *
   * @param role who replies, `user` or another name that the template knows
   * @param grids one a picture
   * @throws {ImageGridError} if a picture has too many tiles
   * @throws {Error} if the chat template does not end answers, or prints no message after one
   */
  buildReply(role: string, text: string, grids: readonly TileGrid[]): number[] {
    const reply = { role, content: text, pictures: grids.map(() => 0) };
    const messages = [{ role: "user", content: "" }, { role: "assistant", content: PROBE }, reply];
    const prepared = this.#prepare(messages, grids);
    const whole = this.#render(prepared.messages, prepared.images, true);
    const at = whole.indexOf(PROBE);
    const ids = at < 0 ? [] : this.#tokenizer.encode(whole.slice(at + PROBE.length));
    const end = ids.indexOf(answerEnds(this.#tokenizer).trained);
    if (end < 0) {
      throw new Error(
        "Cannot continue after an answer: the chat template writes no end token after it; want " +
          "one that does, e.g. the config's default lm_chat_template",
      );
    }
    return ids.slice(end + 1);
  }

  /**
   * An answer as DPO scores it: its text, then the end token.
   *
   * @param maxCompletionLength cuts the end, including the end token; null or omitted: no limit
   */
  buildCompletion(text: string, maxCompletionLength: number | null = null): number[] {
    const { answerPrefix } = this.#tokenizer;
    const ids = this.#tokenizer.encode(answerPrefix + this.stripTypedTokens(text));
    ids.push(answerEnds(this.#tokenizer).trained);
    return maxCompletionLength === null ? ids : ids.slice(0, maxCompletionLength);
  }

  /**
   * A preference row: the prompt with its images, and two answers.
   *
   * @param prompt the user's text, or messages
   * @param grids one an image
   */
  buildPreference(
    row: { prompt: string | readonly ConversationMessage[]; chosen: string; rejected: string },
    grids: readonly TileGrid[],
    maxCompletionLength: number | null = null,
  ): PreferenceExample {
    const messages = typeof row.prompt === "string"
      ? [{ role: "user", content: row.prompt }]
      : row.prompt;
    const promptIds = this.buildPrompt(messages, grids);
    return {
      promptIds,
      chosenIds: this.buildCompletion(row.chosen, maxCompletionLength),
      rejectedIds: this.buildCompletion(row.rejected, maxCompletionLength),
      imageTokenCount: this.#countImageTokens(promptIds),
    };
  }

  #countImageTokens(ids: readonly number[]): number {
    let count = 0;
    for (const id of ids) if (id === this.#imageTokenId) count++;
    return count;
  }

  /** Which messages carry a loss; an answer of weight 0 never does. */
  #learnt(messages: readonly ConversationMessage[]): boolean[] {
    const last = messages.findLastIndex(({ role }) => role === "assistant");
    return messages.map(({ role, weight }, index) =>
      role === "assistant" && weight !== 0 &&
      (this.#lossTokens !== "last_answer" || index === last)
    );
  }

  /** All tokens carry a loss, but those of pictures and of answers of weight 0. */
  #encodeAll(
    prepared: PreparedMessages,
    messages: readonly ConversationMessage[],
  ): { inputIds: number[]; lossMask: number[] } {
    const left = messages.map(({ role, weight }) => role === "assistant" && weight === 0);
    const { inputIds, lossMask: leftMask } = this.#encode(prepared, left);
    const tokenizer = this.#tokenizer;
    const pictures = new Set(
      Object.values(tokenizer.extraTokens).map((token) => tokenizer.tokenToId(token)),
    );
    const lossMask = inputIds.map((id, t) => leftMask[t] === 1 || pictures.has(id) ? 0 : 1);
    return { inputIds, lossMask };
  }

  /** @param learnt which messages carry a loss */
  #encode(
    { messages, images }: PreparedMessages,
    learnt: readonly boolean[],
  ): { inputIds: number[]; lossMask: number[] } {
    const tokenizer = this.#tokenizer;
    const whole = this.#render(messages, images);
    const start = this.#messageStart;
    const inputIds: number[] = [];
    const lossMask: number[] = [];
    const parts = start === null ? [] : this.#parts(messages, images, start);
    if (parts.length === messages.length && parts.join("") === whole) {
      parts.forEach((part, index) => {
        const answer = learnt[index];
        const ids = tokenizer.encode(part);
        for (let i = 0; i < ids.length; i++) {
          inputIds.push(ids[i]);
          lossMask.push(answer && i >= this.#answerHeaderLength ? 1 : 0);
        }
      });
      return { inputIds, lossMask };
    }
    // The template depends on more than one message (e.g. a default system prompt): each answer
    // lies between the prompt for it and the conversation up to its end.
    inputIds.push(...tokenizer.encode(whole));
    for (let t = 0; t < inputIds.length; t++) lossMask.push(0);
    messages.forEach((_, index) => {
      if (!learnt[index]) return;
      const before = this.#render(messages.slice(0, index), images, true);
      const after = this.#render(messages.slice(0, index + 1), images);
      if (!after.startsWith(before) || !whole.startsWith(after)) {
        throw new Error(
          `Cannot find the answer in message ${index}: the chat template prints it in another ` +
            `way once more messages follow; wanted a template that only appends, e.g. the ` +
            `config's default lm_chat_template`,
        );
      }
      const from = tokenizer.encode(before).length;
      let to = tokenizer.encode(after).length;
      if (!tokenizer.promptFormat.trainsAfterEnd) {
        to = inputIds.lastIndexOf(answerEnds(tokenizer).trained, to - 1) + 1 || to;
      }
      lossMask.fill(1, from, to);
    });
    return { inputIds, lossMask };
  }

  /** Each message alone, as far as each begins with `start`; pictures go with the first user. */
  #parts(messages: readonly ChatMessage[], images: readonly string[], start: string): string[] {
    const first = Math.max(0, messages.findIndex(({ role }) => role === "user"));
    const parts: string[] = [];
    for (const [index, message] of messages.entries()) {
      const part = this.#render([message], index === first ? images : []);
      if (!part.startsWith(start)) break;
      parts.push(part);
    }
    return parts;
  }
}

/**
 * Splits a conversation into one per answer: all earlier system messages, the messages since the
 * previous answer, the answer. Messages after the last answer are dropped.
 */
export function splitTurns(messages: readonly ConversationMessage[]): ConversationMessage[][] {
  const turns: ConversationMessage[][] = [];
  const system: ConversationMessage[] = [];
  let open: ConversationMessage[] = [];
  for (const message of messages) {
    if (message.role === "system") {
      system.push(message);
    } else if (message.role === "assistant") {
      turns.push([...system, ...open, message]);
      open = [];
    } else {
      open.push(message);
    }
  }
  return turns;
}
