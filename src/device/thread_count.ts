/**
 * How many threads the CPU path uses.
 * @module
 */

/** Beyond so many the products of small models gain nothing. */
const MOST_THREADS = 8;

/** An environment variable, or undefined where it is unset or may not be read. */
export function environment(name: string): string | undefined {
  try {
    return Deno.env.get(name);
  } catch {
    return undefined; // No env permission.
  }
}

/** Threads, ours included: `NANOVLM_THREADS`, else one a core up to eight. */
export function threadCount(): number {
  const wanted = Number(environment("NANOVLM_THREADS") ?? navigator.hardwareConcurrency);
  return Math.max(1, Math.min(Math.floor(wanted) || 1, MOST_THREADS));
}
