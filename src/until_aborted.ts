/**
 * Waits for work that does not look at a signal itself: loading data and models, downloads.
 *
 * @module
 */

/**
 * What `work` gives, or the signal's reason as the error as soon as it is aborted; the work then
 * goes on with nobody waiting for it.
 *
 * @param work under way
 * @param signal ends the waiting
 * @param discard frees what comes too late
 */
export async function untilAborted<T>(
  work: Promise<T>,
  signal: AbortSignal | undefined,
  discard: (late: T) => void = () => {},
): Promise<T> {
  if (signal === undefined) return await work;
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = () => {
    work.then(discard, () => {}); // whatever becomes of it, nobody asks any more
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
