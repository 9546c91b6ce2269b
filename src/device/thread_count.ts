/**
 * How many threads the CPU path uses.
 * @module
 */

/** With more threads the products of small models do not get faster. */
const MOST_THREADS = 8;

/** An environment variable; undefined if it is unset or may not be read. */
export function environment(name: string): string | undefined {
  try {
    return Deno.env.get(name);
  } catch {
    return undefined; // No env permission.
  }
}

/** Threads, ours included: `NANOVLM_THREADS`, else one for each core, at most eight. */
export function threadCount(): number {
  const wanted = Number(environment("NANOVLM_THREADS") ?? navigator.hardwareConcurrency);
  return Math.max(1, Math.min(Math.floor(wanted) || 1, MOST_THREADS));
}
