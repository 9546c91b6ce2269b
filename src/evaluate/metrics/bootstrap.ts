/**
 * Bootstrap intervals (Efron, 1979).
 *
 * @module
 */
import { RandomStream } from "../../random.ts";

const RESAMPLES = 1000;
/** Share of resamples that lie outside of the interval at either end. */
const TAIL = 0.025;

/**
 * The 95 % percentile interval of a statistic over resampled units (Efron, 1979).
 *
 * @param count units
 * @param statistic of the numbers of the drawn units
 * @param seed the same seed gives the same interval
 */
export function bootstrapInterval(
  count: number,
  statistic: (drawn: Int32Array) => number,
  seed = 42,
): { low: number; high: number } {
  const random = new RandomStream(seed, "bootstrap");
  const values = new Float64Array(RESAMPLES);
  const drawn = new Int32Array(count);
  for (let sample = 0; sample < RESAMPLES; sample++) {
    for (let i = 0; i < count; i++) drawn[i] = Math.floor(random.nextFloat() * count);
    values[sample] = statistic(drawn);
  }
  values.sort();
  return {
    low: values[Math.floor(TAIL * RESAMPLES)],
    high: values[Math.ceil((1 - TAIL) * RESAMPLES) - 1],
  };
}
