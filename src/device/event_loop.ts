/**
 * Long work on wasm or the CPU never awaits anything. Without the function below Deno would deliver no
 * signal (Ctrl-C), fire no timer and answer no child process before the work ends.
 *
 * @module
 */

/** Short enough for a person who waits, long enough to cost nothing. */
const EVERY_MS = 100;

let lastMs = 0;

/** Lets the event loop turn once if it has not turned for 100 ms. */
export async function turnEventLoop(): Promise<void> {
  if (performance.now() - lastMs < EVERY_MS) return;
  await new Promise<void>((resolve) => setTimeout(resolve, 0));
  lastMs = performance.now();
}
