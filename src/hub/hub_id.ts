/**
 * Names of repositories of the Hub.
 *
 * @module
 */

/** A repository and a revision. */
export interface HubId {
  /** `name` or `owner/name`. */
  readonly repo: string;
  /** Branch, tag or commit, if one is named. */
  readonly revision: string | undefined;
}

/**
 * Reads `name`, `owner/name` or `owner/name@revision`.
 *
 * @returns null if it can only be a path
 *
 * @example An id and two paths
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { parseHubId } from "./hub_id.ts";
 *
 * assertEquals(parseHubId("a/b@main"), { repo: "a/b", revision: "main" });
 * assertEquals(parseHubId("./a/b"), null);
 * assertEquals(parseHubId("a/b/c"), null);
 * ```
 */
export function parseHubId(text: string): HubId | null {
  const match = /^([\w-][\w.-]*(?:\/[\w-][\w.-]*)?)(?:@(.+))?$/.exec(text);
  return match === null ? null : { repo: match[1], revision: match[2] };
}

/** Whether a text can be the id of a data set: a data file's name is a path. */
export function isDataHubId(text: string): boolean {
  return parseHubId(text) !== null && !/\.(parquet|jsonl?|csv)$/i.test(text);
}
