/**
 * A completion of several turns: what the model wrote, and what an environment replied.
 *
 * @module
 */
import type { ChatMessage } from "../../../rewards/types.ts";

/** How a completion came about. Its `tokens` hold the turns and the replies. */
export interface Episode {
  /** Whether the model chose a token; the others are the environment's and carry no loss. */
  readonly chosen: readonly boolean[];
  /** The model's turns (`assistant`) and the replies, in order. */
  readonly messages: readonly ChatMessage[];
  /** Pictures of the replies as PNG or the files that the environment gave, in order. */
  readonly pictures: readonly Uint8Array[];
  /** The environment's state after the last call. */
  readonly state: unknown;
  /** Turns of the model. */
  readonly turns: number;
  /** Why it ended before the model or the environment wanted, else null. */
  readonly note: string | null;
  /** The environment failed. No reward applies then. */
  readonly failed: boolean;
}

/** The tokens that the model chose: all of a completion without replies. */
export function chosenCount(
  { tokens, episode }: { readonly tokens: readonly number[]; readonly episode?: Episode },
): number {
  return episode === undefined ? tokens.length : episode.chosen.filter(Boolean).length;
}

/** A conversation as one text, for logs. */
export function episodeText({ messages, note }: Episode): string {
  const lines = messages.map(({ role, content }) =>
    role === "assistant" ? content : `[${role}] ${content}`
  );
  return [...lines, ...(note === null ? [] : [`(${note})`])].join("\n");
}
