/**
 * What the functions of an environment get and return. An environment answers the model's turns, so
 * that a completion is a conversation.
 *
 * B episodes in a call. An episode is one completion: turns of the model and replies between them.
 */
import type { ChatMessage, SandboxGrants } from "../types.ts";

/** Size of a picture of the conversation, in pixels. */
export interface PictureSize {
  width: number;
  height: number;
}

/** What `reset` gets. Every further column of the data is there by its name, an array of length B. */
export interface EnvironmentStart {
  /** The prompts: texts, or messages if the data is conversational. [B] */
  prompts: (string | ChatMessage[])[];
  /** Sizes of the pictures that the conversation has shown so far. [B][pictures] */
  images: PictureSize[][];
  /** A number of each episode that is the same if the run is repeated, for random choices. [B] */
  seeds: number[];
  /** Step and further state of the trainer. (The record below is its type.) */
  trainer_state: Record<string, unknown>;
  /** Every extra column of the data set. [B] */
  [column: string]: unknown[] | Record<string, unknown>;
}

/** What `step` gets. */
export interface EnvironmentTurn extends EnvironmentStart {
  /** What `reset` or the last `step` returned as the episode's state. [B] */
  states: unknown[];
  /** Text of the model's latest turn. [B] */
  answers: string[];
  /** Messages since the prompt, the latest turn included. [B] */
  conversations: ChatMessage[][];
  /** Turns that the model has had. [B] */
  turns: number[];
  /** Turns that the model may still have; at 0 a reply is not shown to it. [B] */
  turns_left: number[];
}

/**
 * A picture of a reply: a file's bytes (PNG, JPEG, …), 8-bit RGB pixels, or a part of a picture of
 * the conversation, `[left, top, right, bottom]` in pixels, right and bottom excluded.
 */
export type EnvironmentPicture =
  | Uint8Array
  | { width: number; height: number; data: Uint8Array | Uint8ClampedArray }
  | { image: number; crop: [left: number, top: number, right: number, bottom: number] };

/** The reply to a turn; null ends the episode and keeps its state. */
export type EnvironmentReply = null | {
  /** Kept for the next call, and passed to reward functions; without it the state stays. */
  state?: unknown;
  /** What the model reads next. */
  text?: string;
  /** What the model sees next, before the text. */
  images?: EnvironmentPicture[];
  /** Ends the episode; no text and no pictures then. */
  done?: boolean;
};

/** What an environment exports as `reset`: the state of each episode at its start. [B] */
export type ResetFunction = (start: EnvironmentStart) => unknown[] | Promise<unknown[]>;

/** What an environment exports as `step`: the reply to each episode's latest turn. [B] */
export type StepFunction = (
  turn: EnvironmentTurn,
) => EnvironmentReply[] | Promise<EnvironmentReply[]>;

/** An environment of the config. */
export interface EnvironmentSpec extends SandboxGrants {
  /** Path, `file:`/`https:`/`jsr:`/`npm:` specifier, or `builtin:NAME`. */
  module: string;
}

/** An episode as the environment's functions see it at the start. */
export interface EpisodeStart {
  readonly prompt: string | readonly ChatMessage[];
  readonly images: readonly PictureSize[];
  readonly seed: number;
  /** The row's further columns. */
  readonly columns: Readonly<Record<string, unknown>>;
}

/** An episode after a turn of the model. */
export interface EpisodeTurn extends EpisodeStart {
  readonly state: unknown;
  readonly answer: string;
  readonly conversation: readonly ChatMessage[];
  readonly turn: number;
  readonly turnsLeft: number;
}

/** A checked reply. */
export interface CheckedReply {
  readonly state: unknown;
  readonly done: boolean;
  readonly text: string;
  readonly images: readonly EnvironmentPicture[];
}

/** What came of an episode in a call: a value, or why the environment failed it. */
export type EpisodeOutcome<T> =
  | { readonly value: T; readonly error: null }
  | { readonly error: string };
