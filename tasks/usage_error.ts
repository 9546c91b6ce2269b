/**
 * A wrong command line.
 *
 * @module
 */

/** The command line cannot be used; nothing was started. Exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}
