/**
 * What every tracker looks like: a place outside of the run's folder that shows its metrics.
 *
 * @module
 */
import type { MetricsRecord } from "../files/metrics_record.ts";

/** What a tracker is told of a run. */
export interface TrackedRun {
  /** The output folder. */
  readonly folder: string;
  /** What the tracker calls the run. */
  readonly name: string;
  /** The project or experiment that it belongs to. */
  readonly project: string;
  /** The resolved config. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Whether the run goes on from a checkpoint. */
  readonly resumed: boolean;
}

/** How a run ended. */
export type TrackedEnd = "done" | "interrupted" | "failed";

/** One tracker of one run. Every method may fail: the run then goes on without it. */
export interface Tracker {
  /** Its name in `logging.report_to`. */
  readonly name: string;
  /**
   * Begins, or goes on with a run.
   *
   * @param earlier records up to the checkpoint that the run goes on from; what the tracker has of
   *   the run is replaced by them
   */
  start(run: TrackedRun, earlier: readonly MetricsRecord[]): void | Promise<void>;
  /** Sends records, in their order. */
  send(records: readonly MetricsRecord[]): void | Promise<void>;
  /**
   * Ends the run.
   *
   * @returns a line for the user, as how to look at it; null: none
   */
  finish(end: TrackedEnd): string | null | Promise<string | null>;
  /** Closes files at once, without a further request. */
  close?(): void;
}
