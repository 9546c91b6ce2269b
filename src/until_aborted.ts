/**
 * Stops waiting, on an abort signal, for work that takes no signal itself: loading, downloads.
 *
 * @module
 */

/**
 * Waits for `work`, or throws the signal's reason as soon as the signal aborts. The work itself is
 * not stopped; its result is then passed to `discard`.
 *
 * @param work a promise whose work has started
 * @param signal stops the waiting
 * @param discard frees a result that arrives after the abort
 */
export async function untilAborted<T>(
  work: Promise<T>,
  signal: AbortSignal | undefined,
  discard: (late: T) => void = () => {},
): Promise<T> {
  if (signal === undefined) return await work;
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = () => {
    work.then(discard, () => {}); // an error after the abort has no reader
    reject(signal.reason);
  };
  if (signal.aborted) abort();
  signal.addEventListener("abort", abort);
  try {
    return await Promise.race([aborted, work]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
