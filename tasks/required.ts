/**
 * Options that a command cannot do without.
 *
 * @module
 */
import type { ParsedArguments } from "./arguments.ts";
import { UsageError } from "./usage_error.ts";

/**
 * The value of a `text` option that must be there.
 *
 * @throws {UsageError} if it is not
 */
export function required(parsed: ParsedArguments, name: string): string {
  const value = parsed.text(name);
  if (value === undefined) throw new UsageError(`wants --${name}`);
  return value;
}
