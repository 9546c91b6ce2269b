/**
 * Averages the metrics of the parts of a step.
 *
 * @module
 */

/** Means and sums of metrics by name. Values that are not numbers are left out. */
export class MeanMetrics {
  readonly #entries = new Map<string, { sum: number; weight: number }>();
  readonly #sums = new Map<string, number>();

  /** Adds parts that are averaged, with a weight. */
  add(metrics: Readonly<Record<string, number>>, weight = 1): void {
    for (const [name, value] of Object.entries(metrics)) {
      if (!Number.isFinite(value)) continue;
      const entry = this.#entries.get(name) ?? { sum: 0, weight: 0 };
      entry.sum += weight * value;
      entry.weight += weight;
      this.#entries.set(name, entry);
    }
  }

  /** Adds parts that are added up, such as times. */
  addSums(metrics: Readonly<Record<string, number>>): void {
    for (const [name, value] of Object.entries(metrics)) {
      this.#sums.set(name, (this.#sums.get(name) ?? 0) + value);
    }
  }

  /** Runs `work` and adds the seconds that it took. */
  async time<T>(name: string, work: () => T | Promise<T>): Promise<T> {
    const started = performance.now();
    try {
      return await work();
    } finally {
      this.addSums({ [name]: (performance.now() - started) / 1000 });
    }
  }

  /** Every metric by name. */
  means(): Record<string, number> {
    const averaged = [...this.#entries].filter(([, { weight }]) => weight > 0)
      .map(([name, { sum, weight }]): [string, number] => [name, sum / weight]);
    return Object.fromEntries([...averaged, ...this.#sums]);
  }
}
