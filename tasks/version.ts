/**
 * The version. A test holds it to `deno.json`, which is not there when modules come over http.
 *
 * @module
 */

/** The version of this package. */
export const VERSION = "0.1.0";
