/**
 * What every command looks like.
 *
 * @module
 */
import type { OptionSpec } from "./arguments.ts";

/** What the command line gives a command beside its arguments. */
export interface CommandContext {
  /** Aborts at the first Ctrl-C, if the command has `onInterrupt`. */
  readonly signal: AbortSignal;
}

/** One command: `nanovlm NAME …`. A file of `tasks/` exports it as `command`. */
export interface Command {
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /** What follows the name: `<sft|dpo|grpo> [options]`. */
  readonly usage: string;
  readonly options: readonly OptionSpec[];
  /** Further lines of help. */
  readonly notes?: string;
  /**
   * What the command does when `signal` aborts, printed after Ctrl-C: `saving a checkpoint`. Without it,
   * Ctrl-C ends the command at once.
   */
  readonly onInterrupt?: string;
  /**
   * Runs it.
   *
   * @param args what follows the command's name
   * @returns the exit code: 0 done, 1 failed, 130 interrupted
   * @throws {UsageError} or `ConfigError` if nothing was started: exit code 2
   */
  run(args: readonly string[], context: CommandContext): Promise<number>;
}
