/**
 * What Trackio stores: a server or a database takes it.
 *
 * @module
 */

/** A record on its way to Trackio. */
export interface TrackioEntry {
  readonly project: string;
  readonly run: string;
  readonly run_id: string;
  readonly metrics: Readonly<Record<string, unknown>>;
  readonly step: number;
  /** Sent twice, a record is stored once. */
  readonly log_id: string;
  readonly config: Readonly<Record<string, unknown>> | null;
}

/** What stores the records of a run. */
export interface TrackioStore {
  /** Forgets a run. */
  remove(run: Pick<TrackioEntry, "project" | "run" | "run_id">): void | Promise<void>;
  add(entries: readonly TrackioEntry[]): void | Promise<void>;
  close?(): void;
}
