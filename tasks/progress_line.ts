/**
 * Says every few seconds how far a command is.
 *
 * @param what is counted, as `questions answered`
 * @param before how many were done when the command began; they do not count in the rate
 * @returns called with the number that is done
 */
export function progressLine(what: string, before = 0): (done: number) => void {
  const started = performance.now();
  let last = started;
  return (done) => {
    const now = performance.now();
    if (now - last < 5000) return;
    last = now;
    const rate = (done - before) / ((now - started) / 1000);
    console.error(`${done} ${what} (${rate.toFixed(1)}/s)`);
  };
}
