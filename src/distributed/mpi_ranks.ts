/**
 * Ranks over Open MPI or MPICH.
 *
 * A small call is begun and then tested from this thread: if the others are there, it is done within
 * microseconds, and no other thread has to wake up. A large one runs on another thread.
 *
 * @module
 */
import { setImmediate } from "node:timers/promises";
import type { MpiLibrary } from "./mpi_library.ts";
import type { Ranks, Summable, WaitOptions } from "./ranks.ts";
import { RollCall } from "./roll_call.ts";

/** Bytes of one call: a count is an int32, and pieces let a timer run in between. */
const PIECE_BYTES = 2 ** 28;
/** Bytes of a call that is tested from this thread. */
const SMALL_BYTES = 2 ** 16;
/** How long a call is tested without a break. Ranks that are in step are there by then. */
const BUSY_MS = 0.1;
/** How long it is tested whenever nothing else is to be done. */
const LIVELY_MS = 2;
/** After that, the longest pause between two tests. */
const PAUSE_MS = 2;
/** The same if the others may be away for long. */
const PATIENT_PAUSE_MS = 50;
/** A pause is this share of the time waited so far. */
const PAUSE_SHARE = 1 / 50;

/** What the library tells of the world once it runs. */
export interface MpiWorld {
  readonly library: MpiLibrary;
  readonly rank: number;
  readonly size: number;
}

/** Begins a collective call, whose end `request` tells. */
type Begin = (mpi: MpiLibrary["mpi"], request: Uint8Array<ArrayBuffer>) => number;

/** A collective call on another thread. */
type Run = (mpi: MpiLibrary["mpi"]) => Promise<number>;

/** The ranks of a job. One call at a time is on its way. */
export class MpiRanks implements Ranks {
  readonly rank: number;
  readonly size: number;
  readonly #library: MpiLibrary;
  readonly #timeoutMs: number;
  /** Of the call that is on its way. */
  readonly #request = new Uint8Array(8);
  readonly #done = new Int32Array(1);
  readonly #doneBytes = bytesOf(this.#done);
  #hosts: readonly string[] = [];
  #rollCall: RollCall | null = null;
  #calls = 0;
  #milliseconds = 0;
  #last: Promise<unknown> = Promise.resolve();

  private constructor({ library, rank, size }: MpiWorld, timeoutMs: number) {
    this.#library = library;
    this.rank = rank;
    this.size = size;
    this.#timeoutMs = timeoutMs;
  }

  /**
   * Meets the other ranks.
   *
   * @param world after `MPI_Init_thread`
   * @param timeoutMs how long a call waits for the others before the job is ended
   */
  static async start(world: MpiWorld, timeoutMs: number): Promise<MpiRanks> {
    const ranks = new MpiRanks(world, timeoutMs);
    const names = await ranks.gather(new TextEncoder().encode(Deno.hostname()), "the start");
    ranks.#hosts = names.map((name) => new TextDecoder().decode(name));
    const { rank, size } = world;
    ranks.#rollCall = new RollCall(world.library.mpi, { rank, size, hosts: ranks.#hosts });
    return ranks;
  }

  get hosts(): readonly string[] {
    return this.#hosts;
  }

  get description(): string {
    const hosts = new Set(this.#hosts);
    const where = hosts.size === 1 ? [...hosts][0] : `${hosts.size} machines`;
    return `${this.size} ranks on ${where}, ${this.#library.version}`;
  }

  get secondsInCalls(): number {
    return this.#milliseconds / 1000;
  }

  async sum(values: Summable, what: string): Promise<void> {
    const { mpi } = this.#library;
    const type = values instanceof Float32Array
      ? mpi.float
      : values instanceof Float64Array
      ? mpi.double
      : mpi.int32;
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    const { BYTES_PER_ELEMENT: width } = values;
    for (const piece of piecesOf(bytes)) {
      const count = piece.byteLength / width;
      if (piece.byteLength <= SMALL_BYTES) {
        await this.#post(
          what,
          {},
          ({ MPI_Iallreduce, inPlace, sum, world }, request) =>
            MPI_Iallreduce(inPlace, piece, count, type, sum, world, request),
        );
      } else {
        await this.#run(
          what,
          {},
          ({ MPI_Allreduce, inPlace, sum, world }) =>
            MPI_Allreduce(inPlace, piece, count, type, sum, world),
        );
      }
    }
  }

  async exchange(bytes: Uint8Array, what: string): Promise<Uint8Array> {
    const sent = new Uint8Array(bytes), received = new Uint8Array(bytes.byteLength);
    const count = bytes.byteLength / this.size;
    await this.#run(
      what,
      {},
      ({ MPI_Alltoall, byte, world }) =>
        MPI_Alltoall(sent, count, byte, received, count, byte, world),
    );
    return received;
  }

  async gather(
    bytes: Uint8Array,
    what: string,
    options: WaitOptions = {},
  ): Promise<Uint8Array[]> {
    const length = Int32Array.of(bytes.byteLength), lengths = new Int32Array(this.size);
    // Once all have come, nothing takes long.
    await this.#post(what, options, ({ MPI_Iallgather, int32, world }, request) =>
      MPI_Iallgather(
        ...[bytesOf(length), 1, int32, bytesOf(lengths)] as const,
        ...[1, int32, world, request] as const,
      ));
    const offsets = new Int32Array(this.size);
    for (let r = 1; r < this.size; r++) offsets[r] = offsets[r - 1] + lengths[r - 1];
    const total = offsets[this.size - 1] + lengths[this.size - 1];
    const all = new Uint8Array(Math.max(total, 1));
    // FFI refuses an empty buffer's address.
    const own = bytes.byteLength > 0 ? new Uint8Array(bytes) : new Uint8Array(1);
    const { byte, world } = this.#library.mpi;
    const operands = [
      ...[own, bytes.byteLength, byte, all] as const,
      ...[bytesOf(lengths), bytesOf(offsets), byte, world] as const,
    ] as const;
    if (total <= SMALL_BYTES) {
      await this.#post(what, {}, (mpi, request) => mpi.MPI_Iallgatherv(...operands, request));
    } else await this.#run(what, {}, (mpi) => mpi.MPI_Allgatherv(...operands));
    return Array.from(lengths, (length, r) => all.slice(offsets[r], offsets[r] + length));
  }

  async broadcast(bytes: Uint8Array, what: string, options: WaitOptions = {}): Promise<void> {
    if (options.patient) await this.barrier(what, options);
    for (const piece of piecesOf(bytes)) {
      await this.#run(
        what,
        {},
        ({ MPI_Bcast, byte, world }) => MPI_Bcast(piece, piece.byteLength, byte, 0, world),
      );
    }
  }

  async barrier(what: string, options: WaitOptions = {}): Promise<void> {
    await this.#post(what, options, (mpi, request) => mpi.MPI_Ibarrier(mpi.world, request));
  }

  async close(): Promise<void> {
    await this.#last;
    this.#rollCall = null;
    await this.#library.mpi.MPI_Finalize();
  }

  abort(code: number): void {
    const { mpi } = this.#library;
    mpi.MPI_Abort(mpi.world, code);
    Deno.exit(code);
  }

  /**
   * Begins a call and tests it until it is done.
   *
   * @param begin holds the operands, which must live until then
   */
  async #post(what: string, { patient = false }: WaitOptions, begin: Begin): Promise<void> {
    await this.#next(async (number) => {
      this.#check(begin(this.#library.mpi, this.#request), what);
      if (this.#isDone()) return;
      const began = performance.now();
      while (performance.now() < began + BUSY_MS) if (this.#isDone()) return;
      const watch = this.#watch(number, what, patient);
      try {
        while (performance.now() < began + LIVELY_MS) {
          await setImmediate();
          if (this.#isDone()) return;
        }
        const longest = patient ? PATIENT_PAUSE_MS : PAUSE_MS;
        while (!this.#isDone()) {
          const pause = Math.min((performance.now() - began) * PAUSE_SHARE, longest);
          await new Promise((resolve) => setTimeout(resolve, pause));
        }
      } finally {
        watch?.stop();
      }
    });
    held(begin);
  }

  /** Runs a call on another thread. */
  async #run(what: string, { patient = false }: WaitOptions, run: Run): Promise<void> {
    await this.#next(async (number) => {
      const watch = this.#watch(number, what, patient);
      try {
        this.#check(await run(this.#library.mpi), what);
      } finally {
        watch?.stop();
      }
    });
  }

  /** Ends the job if the other ranks do not come. */
  #watch(number: number, what: string, patient: boolean): { stop(): void } | undefined {
    const timeoutMs = patient ? Infinity : this.#timeoutMs;
    return this.#rollCall?.watch({ number, what, timeoutMs });
  }

  /** Makes a call after the one before it. */
  async #next(call: (number: number) => Promise<void>): Promise<void> {
    const number = ++this.#calls;
    const before = this.#last;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#last = promise;
    await before;
    const started = performance.now();
    try {
      await call(number);
    } finally {
      this.#milliseconds += performance.now() - started;
      resolve();
    }
  }

  #check(code: number, what: string): void {
    if (code === 0) return;
    const { version } = this.#library;
    throw new Error(`Cannot reach the other ranks for ${what}: ${version} gave error ${code}`);
  }

  /** Whether the call that is on its way is done. */
  #isDone(): boolean {
    const { MPI_Test, noStatus } = this.#library.mpi;
    this.#check(MPI_Test(this.#request, this.#doneBytes, noStatus), "a call");
    return this.#done[0] !== 0;
  }
}

/** Keeps what a call reads and writes from being freed before this line. */
function held(_operands: unknown): void {}

function bytesOf({ buffer, byteOffset, byteLength }: Int32Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
}

/** Parts of a buffer, each of a size that one call takes. */
function* piecesOf(bytes: Uint8Array): Generator<Uint8Array<ArrayBuffer>> {
  const { buffer, byteOffset, byteLength } = bytes;
  for (let from = 0; from < byteLength; from += PIECE_BYTES) {
    const length = Math.min(PIECE_BYTES, byteLength - from);
    // The heap of threads is a SharedArrayBuffer, which FFI takes as well.
    yield new Uint8Array(buffer as ArrayBuffer, byteOffset + from, length);
  }
}
