/**
 * What a learning-rate range test measures, and the rate that it suggests: Smith, "Cyclical Learning
 * Rates for Training Neural Networks" (WACV 2017, arXiv 1506.01186), section 3.3.
 *
 * The rate grows from step to step by a constant factor, as in fastai and Lightning. At small rates
 * the loss stays, then it falls, and above some rate it rises or diverges.
 *
 * @module
 */

/** The range of rates. */
export interface RateRange {
  /** Of the first step. */
  readonly lowest: number;
  /** Of the last step. */
  readonly highest: number;
  readonly steps: number;
}

/** A step of the test. */
export interface RangePoint {
  readonly rate: number;
  readonly loss: number;
  /** Mean of the losses so far, in which older ones count less. */
  readonly smoothed: number;
}

/** What the test says. */
export interface RateSuggestion {
  /** The rate to train with; null: the loss did not clearly fall. */
  readonly rate: number | null;
  /** Where the smoothed loss falls the most for a factor in the rate. */
  readonly steepest: number | null;
  /** Where the smoothed loss is lowest. */
  readonly lowestLossAt: number | null;
}

/** Weight of the losses before in the smoothed loss: it follows about ten steps. */
const SMOOTHING = 0.9;

/** A smoothed loss of so many times the lowest one has diverged. */
const DIVERGED = 4;

/** First steps that are no place for a suggestion: the mean of the losses is one of few. */
const FIRST_SHARE = 0.1;

/** The rate of a step: `lowest` · (`highest` / `lowest`)^(step / (steps − 1)). */
export function rateOfStep(step: number, { lowest, highest, steps }: RateRange): number {
  return lowest * (highest / lowest) ** (step / Math.max(1, steps - 1));
}

/** The points of a test as they are measured. */
export class RangeTest {
  readonly #points: RangePoint[] = [];
  #sum = 0;
  #diverged = false;

  constructor(readonly range: RateRange) {}

  /** So far. */
  get points(): readonly RangePoint[] {
    return this.#points;
  }

  /** Whether the loss was not finite, or left its lowest value far behind. */
  get diverged(): boolean {
    return this.#diverged;
  }

  /**
   * Adds the loss of the next step, measured before its update.
   *
   * @returns whether the test goes on
   */
  add(loss: number): boolean {
    if (!Number.isFinite(loss)) {
      this.#diverged = true;
      return false;
    }
    const step = this.#points.length;
    this.#sum = SMOOTHING * this.#sum + (1 - SMOOTHING) * loss;
    // The bias of the first steps towards 0 is divided out, as in Adam.
    const smoothed = this.#sum / (1 - SMOOTHING ** (step + 1));
    this.#points.push({ rate: rateOfStep(step, this.range), loss, smoothed });
    const lowest = Math.min(...this.#points.map((point) => point.smoothed));
    this.#diverged = step >= FIRST_SHARE * this.range.steps && lowest > 0 &&
      smoothed > DIVERGED * lowest;
    return !this.#diverged && step + 1 < this.range.steps;
  }
}

/** How much losses jump from one step to the next, around their smoothed course. */
function spreadOf(points: readonly RangePoint[]): number {
  const squares = points.map(({ loss, smoothed }) => (loss - smoothed) ** 2);
  return Math.sqrt(squares.reduce((sum, square) => sum + square, 0) / points.length);
}

/**
 * The rate to train with: where the loss falls the most, but at most a tenth of the rate at which it
 * is lowest, since the loss of a whole run has more steps at that rate than the test had.
 *
 * The loss must have fallen by more than it jumps from step to step, else there is no suggestion.
 */
export function suggestRate(points: readonly RangePoint[]): RateSuggestion {
  const first = Math.ceil(FIRST_SHARE * points.length);
  const rest = points.slice(first);
  if (rest.length < 5) return { rate: null, steepest: null, lowestLossAt: null };
  const lowest = rest.reduce((best, point) => point.smoothed < best.smoothed ? point : best);
  const start = points.slice(0, first).reduce((sum, { loss }) => sum + loss, 0) / first;
  const spread = spreadOf(points.slice(0, points.indexOf(lowest) + 1));
  if (!(start - lowest.smoothed > spread)) {
    return { rate: null, steepest: null, lowestLossAt: null };
  }
  // Central differences over the logarithm of the rate, up to the lowest loss.
  const falling = rest.slice(0, rest.indexOf(lowest) + 1);
  let steepest = falling[0], most = Infinity;
  for (let i = 1; i + 1 < falling.length; i++) {
    const width = Math.log(falling[i + 1].rate) - Math.log(falling[i - 1].rate);
    const slope = (falling[i + 1].smoothed - falling[i - 1].smoothed) / width;
    if (slope < most) [most, steepest] = [slope, falling[i]];
  }
  return {
    rate: Math.min(steepest.rate, lowest.rate / 10),
    steepest: steepest.rate,
    lowestLossAt: lowest.rate,
  };
}
