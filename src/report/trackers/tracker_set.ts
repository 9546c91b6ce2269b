/**
 * The trackers of a run, kept apart from it: they work in the background, and one that fails is said
 * once and left out.
 *
 * @module
 */
import type { MetricsRecord } from "../files/metrics_record.ts";
import type { TrackedEnd, TrackedRun, Tracker } from "./tracker.ts";

/** The longest that the end of a run waits for its trackers. */
const FINISH_MS = 60_000;

/** One tracker and what it has to do. */
interface Tracked {
  readonly tracker: Tracker;
  /** The last thing that it was asked to do; never rejects. */
  work: Promise<void>;
  pending: MetricsRecord[];
  failed: boolean;
}

/** Rejects when it lasts too long. */
async function within<T>(work: Promise<T>, ms: number): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`No answer within ${ms / 1000} s`)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** All trackers of a run. */
export class TrackerSet {
  readonly #tracked: readonly Tracked[];
  readonly #warn: (text: string) => void;
  readonly #finishMs: number;

  /**
   * @param trackers one for each name in `logging.report_to`
   * @param warn called once for a tracker that fails
   * @param finishMs the longest that the end waits
   */
  constructor(
    trackers: readonly Tracker[],
    warn: (text: string) => void,
    finishMs = FINISH_MS,
  ) {
    this.#tracked = trackers.map((tracker) => ({
      tracker,
      work: Promise.resolve(),
      pending: [],
      failed: false,
    }));
    this.#warn = warn;
    this.#finishMs = finishMs;
  }

  /** Begins the run in every tracker; it does not wait for them. */
  start(run: TrackedRun, earlier: readonly MetricsRecord[]): void {
    for (const tracked of this.#tracked) {
      this.#do(tracked, async () => await tracked.tracker.start(run, earlier));
    }
  }

  /** Hands a record to every tracker; it does not wait for them. */
  log(record: MetricsRecord): void {
    for (const tracked of this.#tracked) {
      if (tracked.failed) continue;
      tracked.pending.push(record);
      // One request takes all records that gathered while the one before was on its way.
      if (tracked.pending.length === 1) this.#do(tracked, () => this.#send(tracked));
    }
  }

  async #send(tracked: Tracked): Promise<void> {
    const records = tracked.pending;
    tracked.pending = [];
    await tracked.tracker.send(records);
  }

  #do(tracked: Tracked, action: () => Promise<void>): void {
    tracked.work = tracked.work.then(async () => {
      if (tracked.failed) return;
      try {
        await action();
      } catch (error) {
        this.#fail(tracked, error);
      }
    });
  }

  #fail(tracked: Tracked, error: unknown): void {
    if (tracked.failed) return;
    tracked.failed = true;
    tracked.pending = [];
    closeQuietly(tracked.tracker);
    const reason = error instanceof Error ? error.message : String(error);
    this.#warn(
      `${tracked.tracker.name} gets no further metrics: ${reason}. The run goes on; every number is ` +
        "in metrics.jsonl",
    );
  }

  /**
   * Ends the run in every tracker, and waits for them, but not for long.
   *
   * @returns lines for the user
   */
  async finish(end: TrackedEnd): Promise<string[]> {
    const lines = await Promise.all(this.#tracked.map(async (tracked) => {
      try {
        await within(tracked.work, this.#finishMs);
        if (tracked.failed) return null;
        return await within(Promise.resolve(tracked.tracker.finish(end)), this.#finishMs);
      } catch (error) {
        this.#fail(tracked, error);
        return null;
      }
    }));
    return lines.filter((line) => line !== null);
  }

  /** Closes files at once, as after an error. */
  close(): void {
    for (const tracked of this.#tracked) {
      tracked.failed = true;
      closeQuietly(tracked.tracker);
    }
  }
}

function closeQuietly(tracker: Tracker): void {
  try {
    tracker.close?.();
  } catch {
    // It failed already, or the run is over.
  }
}
