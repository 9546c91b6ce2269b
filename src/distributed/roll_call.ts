/**
 * Finds out which rank does not come when the others wait for it.
 *
 * While a rank waits, a timer runs on its main thread. If the wait takes too long, the rank asks all
 * others whether they wait too. Those that wait answer; one that hangs, or computes without an end,
 * does not. The first rank that waits names it and ends the job.
 *
 * @module
 */
import type { MpiLibrary } from "./mpi_library.ts";

/** Tags of our messages; no others are sent from rank to rank. */
const QUESTION = 4711, ANSWER = 4712;
/** How often a waiting rank looks for questions. */
const LOOK_MS = 500;
/** How long an answer may take. */
const ANSWER_MS = 4000;

/** Which rank this is. */
export interface RollCallWorld {
  readonly rank: number;
  readonly size: number;
  readonly hosts: readonly string[];
}

/** A call that waits for the other ranks. */
export interface WaitedCall {
  /** Counts the calls; the same on each rank. */
  readonly number: number;
  readonly what: string;
  readonly timeoutMs: number;
}

/** Watches the calls of one rank. */
export class RollCall {
  constructor(readonly mpi: MpiLibrary["mpi"], readonly world: RollCallWorld) {}

  /** Watches a call from now on. */
  watch(call: WaitedCall): { stop(): void } {
    const started = performance.now();
    let ended = false, asked = false;
    const look = () => {
      if (ended) return;
      this.#answer(call.number);
      if (!asked && performance.now() - started > call.timeoutMs) {
        asked = true;
        this.#ask(call, () => ended).catch((error) => console.error(error));
      }
      timer = setTimeout(look, LOOK_MS);
    };
    let timer = setTimeout(look, LOOK_MS);
    return {
      stop() {
        ended = true;
        clearTimeout(timer);
      },
    };
  }

  /** Tells every rank that asked that this one waits. */
  #answer(number: number): void {
    for (let from = this.#take(QUESTION); from !== null; from = this.#take(QUESTION)) {
      this.#send(from.source, ANSWER, number);
    }
  }

  async #ask({ number, what, timeoutMs }: WaitedCall, isEnded: () => boolean): Promise<void> {
    const { rank, size, hosts } = this.world;
    const here = new Map<number, number>([[rank, number]]);
    for (let other = 0; other < size; other++) {
      if (other !== rank) this.#send(other, QUESTION, rank);
    }
    const until = performance.now() + ANSWER_MS;
    while (performance.now() < until && here.size < size && !isEnded()) {
      for (let from = this.#take(ANSWER); from !== null; from = this.#take(ANSWER)) {
        here.set(from.source, from.value);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    if (isEnded()) return;
    const missing = Array.from({ length: size }, (_, r) => r).filter((r) => !here.has(r));
    const behind = [...here].filter(([, there]) => there < number).map(([r]) => r);
    const named = [...missing, ...behind].map((r) => `rank ${r} (${hosts[r]})`).join(", ");
    console.error(
      `rank ${rank} (${hosts[rank]}): waited ${Math.round(timeoutMs / 1000)} s for ${what}; ` +
        (named === ""
          ? "all ranks wait, so that a network link may be cut"
          : `does not come: ${named}`) +
        "; the job ends. Go on with the same command and --resume",
    );
    this.mpi.MPI_Abort(this.mpi.world, 1);
    Deno.exit(1);
  }

  #send(to: number, tag: number, value: number): void {
    const { MPI_Send, int32, world } = this.mpi;
    const message = new Uint8Array(Int32Array.of(this.world.rank, value).buffer);
    MPI_Send(message, 2, int32, to, tag, world);
  }

  /** A message with a tag, if there is one. */
  #take(tag: number): { source: number; value: number } | null {
    const { MPI_Iprobe, MPI_Recv, anySource, noStatus, int32, world } = this.mpi;
    const flag = new Int32Array(1);
    const bytes = new Uint8Array(flag.buffer);
    MPI_Iprobe(anySource, tag, world, bytes, noStatus);
    if (flag[0] === 0) return null;
    const message = new Int32Array(2);
    MPI_Recv(new Uint8Array(message.buffer), 2, int32, anySource, tag, world, noStatus);
    return { source: message[0], value: message[1] };
  }
}
