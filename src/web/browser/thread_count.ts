/**
 * What a browser gets in place of `src/device/thread_count.ts`.
 *
 * @module
 */

/** A browser has no environment variables. */
export function environment(_name: string): string | undefined {
  return undefined;
}

/** One: see `docs/web_export.md`. */
export function threadCount(): number {
  return 1;
}
