/**
 * Long work on wasm or the CPU never waits for anything, so that Deno would deliver no signal
 * (Ctrl-C), fire no timer and answer no child process before it ends.
 *
 * @module
 */

/** Often enough for a person, seldom enough to cost nothing. */
const EVERY_MS = 100;

let lastMs = 0;

/** Lets the event loop turn once, where it has not for 100 ms. */
export async function turnEventLoop(): Promise<void> {
  if (performance.now() - lastMs < EVERY_MS) return;
  await new Promise<void>((resolve) => setTimeout(resolve, 0));
  lastMs = performance.now();
}
