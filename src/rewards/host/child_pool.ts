/** The processes of one module: places that calls take in turn. */
import type { SandboxChild } from "./child_process.ts";

/** A place of the pool. At most one call uses it at a time. */
export interface Place {
  child: Promise<SandboxChild> | null;
  busy: boolean;
}

/** The process of a place, for a call. */
export interface TakenChild {
  child: SandboxChild;
  /** How the last process ended since the call before, or null. */
  ended: string | null;
}

/** Longest wait before another process is started, in milliseconds. */
const MAX_WAIT_MS = 5000;

/**
 * Keeps the processes of a module. A process that ends is replaced at the next call and not before; if
 * processes end again and again, each start waits longer.
 */
export class ChildPool {
  readonly #start: () => Promise<SandboxChild>;
  readonly #places: Place[];
  #waiting: ((place: Place) => void)[] = [];
  /** Every process that is not known to have ended. */
  readonly #children = new Set<SandboxChild>();
  #endingsInARow = 0;
  #closed = false;

  /** `first` is the process that runs already; `start` starts another one. */
  constructor(start: () => Promise<SandboxChild>, first: SandboxChild, count: number) {
    this.#start = start;
    this.#follow(first);
    this.#places = [{ child: Promise.resolve(first), busy: false }];
    for (let i = 1; i < count; i++) this.#places.push({ child: this.#begin(), busy: false });
  }

  /** Whether the pool was closed. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Ids of the current processes. */
  async pids(): Promise<number[]> {
    const children = await Promise.allSettled(this.#places.map(({ child }) => child));
    return children.flatMap((one) =>
      one.status === "fulfilled" && one.value?.alive ? [one.value.pid] : []
    );
  }

  /** Waits for a free place. Give it back with {@linkcode give}. */
  take(): Promise<Place> {
    const place = this.#places.find(({ busy }) => !busy);
    if (place === undefined) return new Promise((resolve) => this.#waiting.push(resolve));
    place.busy = true;
    return Promise.resolve(place);
  }

  /** Gives a place to the next caller. */
  give(place: Place): void {
    const next = this.#waiting.shift();
    if (next !== undefined) next(place);
    else place.busy = false;
  }

  /** The process of a place; starts one if there is none. */
  async childOf(place: Place): Promise<TakenChild> {
    const there = await place.child?.catch(() => null) ?? null;
    if (there?.alive) return { child: there, ended: null };
    const ended = there?.endedInCall === false ? there.death?.detail ?? null : null;
    const waitMs = this.#endingsInARow < 2
      ? 0
      : Math.min(MAX_WAIT_MS, 50 * 2 ** Math.min(this.#endingsInARow, 10));
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    place.child = this.#begin();
    return { child: await place.child, ended };
  }

  /** Counts a call: did the process of the call before live on, and did this one answer? */
  count(wentWell: boolean): void {
    this.#endingsInARow = wentWell ? 0 : this.#endingsInARow + 1;
  }

  /** Kills all processes and waits until they are gone. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#children].map((child) => child.close()));
    await Promise.allSettled(
      this.#places.map(async ({ child }) => await (await child)?.close()),
    );
  }

  #begin(): Promise<SandboxChild> {
    const starting = this.#start().then(async (child) => {
      this.#follow(child);
      if (this.#closed) await child.close();
      return child;
    });
    // The call that uses the place sees the error.
    starting.catch(() => {});
    return starting;
  }

  #follow(child: SandboxChild): void {
    this.#children.add(child);
    child.dead.then(() => this.#children.delete(child));
  }
}
