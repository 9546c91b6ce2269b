/**
 * What a reward function gets and returns, and what the config grants it.
 *
 * B completions in a call.
 */

/** A chat message, if the data holds conversations and not plain strings. */
export interface ChatMessage {
  role: string;
  content: string;
}

/** A completion: text, or the messages of one assistant turn if the data is conversational. */
export type Completion = string | ChatMessage[];

/**
 * The one argument of a reward function: B prompts and completions, and every further column of
 * the data set under its own name (`answer`, `solution`, …), each an array of length B.
 *
 * `completions` is typed as `string[]`, the common case; if the data holds chat messages it is
 * `ChatMessage[][]` at run time, and {@linkcode RewardChatContext} is the type to take.
 */
export interface RewardContext {
  /** The prompts, one for each completion. [B] */
  prompts: string[];
  /** The texts to score. [B] */
  completions: string[];
  /** Token ids of each completion. [B][T] */
  completion_ids: number[][];
  /** Step, epoch and further state of the trainer. A copy: writing to it has no effect. */
  trainer_state: Record<string, unknown>;
  /** Every extra column of the data set. [B] (The record is `trainer_state`'s.) */
  [column: string]: unknown[] | Record<string, unknown>;
}

/** {@linkcode RewardContext} for conversational data. */
export interface RewardChatContext {
  /** The conversations so far. [B] */
  prompts: ChatMessage[][];
  /** The assistant's turns. [B] */
  completions: ChatMessage[][];
  /** Token ids of each completion. [B][T] */
  completion_ids: number[][];
  /** As in {@linkcode RewardContext}. */
  trainer_state: Record<string, unknown>;
  /** Every extra column of the data set. [B] */
  [column: string]: unknown[] | Record<string, unknown>;
}

/** What a reward module exports: a score, or null for not applicable, for each completion. [B] */
export type RewardFunction = (
  context: RewardContext,
) => (number | null)[] | Promise<(number | null)[]>;

/** What a sandboxed module may do beyond computing. Everything is off by default. */
export interface SandboxGrants {
  /** Hosts (`host` or `host:port`) that it may call; `true` for any. */
  allowNet?: string[] | boolean;
  /** Files and folders that it may read; `true` for any. Relative to the working directory. */
  allowRead?: string[] | boolean;
  /** Environment variables that it may see. */
  allowEnv?: string[];
  /** Resident memory of one of its processes, in MB (default 512). */
  memoryMb?: number;
  /** Time for one call, in milliseconds (default 10,000). */
  timeoutMs?: number;
  /** Time to load and evaluate the module, in milliseconds (default: `timeoutMs`, at least 2,000). */
  startTimeoutMs?: number;
  /** Processes that work for this module side by side (default 1). */
  processes?: number;
  /** `sha256-…` over the module's whole graph; required if any part of it is remote. */
  integrity?: string;
  /** Folder for fetched remote modules (default: `nanovlm-lab/rewards` in the user's cache). */
  cacheDir?: string;
}

/** A reward module of the config. */
export interface RewardModuleSpec extends SandboxGrants {
  /** Path, `file:`/`https:`/`jsr:`/`npm:` specifier, or `builtin:NAME`. */
  module: string;
  /** The exported functions to use (default: all of them). */
  functions?: string[];
  /** Weight of every function of this module (default 1). */
  weight?: number;
  /** Weights of single functions, before `weight`. */
  weights?: Record<string, number>;
  /** Time limits of single functions in milliseconds, before `timeoutMs`. */
  timeouts?: Record<string, number>;
}

/** B rows to score. */
export interface RewardBatch {
  prompts: unknown[];
  completions: unknown[];
  completion_ids?: (number[] | Int32Array)[];
  /** Every further column, each of length B. */
  columns?: Record<string, unknown[]>;
  trainer_state?: Record<string, unknown>;
}

/** The result of one function for a batch. */
export interface FunctionScores {
  /** The function's metric name. */
  name: string;
  /** The module it comes from, as the config names it. */
  module: string;
  /** One for each completion; all null if the call failed. [B] */
  scores: (number | null)[];
  /** Wall-clock time of the call in milliseconds. */
  ms: number;
  /** Why the call failed, or null. */
  error: string | null;
  /** The call was stopped because it exceeded its time limit. */
  timedOut: boolean;
  /** What it printed: control characters stripped, lines cut. */
  printed: string[];
  /** What it tried and was refused, in words. */
  refused: string[];
}

/** The result of {@linkcode RewardSandbox.score}. */
export interface RewardResult {
  /** One for each function, in the order of {@linkcode RewardSandbox.functions}. */
  functions: FunctionScores[];
  /** Scores by completion, then function. [B][functions] */
  rewards: (number | null)[][];
  /** Weighted sum of the scores that are not null; null if all are null. [B] */
  total: (number | null)[];
  /** `rewards/NAME/failed`, `rewards/NAME/timeouts` (counted since the start), `rewards/NAME/ms`. */
  metrics: Record<string, number>;
}
