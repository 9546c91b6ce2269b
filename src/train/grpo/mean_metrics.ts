/**
 * Averages the metrics of the parts of a step.
 *
 * @module
 */

/** The parts of metrics as JSON. */
export interface MeanMetricsState {
  readonly entries: Readonly<Record<string, { readonly sum: number; readonly weight: number }>>;
  readonly sums: Readonly<Record<string, number>>;
}

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

  /** For other ranks. */
  state(): MeanMetricsState {
    return { entries: Object.fromEntries(this.#entries), sums: Object.fromEntries(this.#sums) };
  }

  /**
   * The metrics of several ranks: means over all their parts, and the largest of their sums, since
   * ranks spend their times side by side.
   *
   * @param ranks one entry a rank
   */
  static of(ranks: readonly MeanMetricsState[]): MeanMetrics {
    const all = new MeanMetrics();
    for (const { entries, sums } of ranks) {
      for (const [name, { sum, weight }] of Object.entries(entries)) {
        const entry = all.#entries.get(name) ?? { sum: 0, weight: 0 };
        all.#entries.set(name, { sum: entry.sum + sum, weight: entry.weight + weight });
      }
      for (const [name, value] of Object.entries(sums)) {
        all.#sums.set(name, Math.max(all.#sums.get(name) ?? 0, value));
      }
    }
    return all;
  }

  /** Adds the parts of others. */
  addParts(others: MeanMetrics): void {
    for (const [name, { sum, weight }] of others.#entries) {
      const entry = this.#entries.get(name) ?? { sum: 0, weight: 0 };
      this.#entries.set(name, { sum: entry.sum + sum, weight: entry.weight + weight });
    }
    this.addSums(Object.fromEntries(others.#sums));
  }

  /** Every metric by name. */
  means(): Record<string, number> {
    const averaged = [...this.#entries].filter(([, { weight }]) => weight > 0)
      .map(([name, { sum, weight }]): [string, number] => [name, sum / weight]);
    return Object.fromEntries([...averaged, ...this.#sums]);
  }
}
