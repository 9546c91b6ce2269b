/**
 * What a browser gets in place of `src/device/thread_count.ts`.
 *
 * @module
 */

/** As in Deno: with more threads the products of small models do not get faster. */
const MOST_THREADS = 8;

/** A browser has no environment variables. */
export function environment(_name: string): string | undefined {
  return undefined;
}

/** Threads, ours included: one for each core, at most eight; one if memory cannot be shared. */
export function threadCount(): number {
  const { crossOriginIsolated } = globalThis as { crossOriginIsolated?: boolean };
  if (crossOriginIsolated !== true) return 1;
  return Math.max(1, Math.min(navigator.hardwareConcurrency, MOST_THREADS));
}
