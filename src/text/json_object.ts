/**
 * Parsed JSON.
 *
 * @module
 */

/** A parsed JSON value that is an object and not a list. */
export function isJsonObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
