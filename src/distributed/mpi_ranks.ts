/**
 * Ranks over Open MPI.
 *
 * @module
 */
import type { OpenMpi, OpenMpiSymbols } from "./open_mpi.ts";
import type { Ranks, Summable, WaitOptions } from "./ranks.ts";
import { RollCall } from "./roll_call.ts";

/** `MPI_IN_PLACE`: the operand is where the result goes. */
const IN_PLACE = Deno.UnsafePointer.create(1n);
/** Bytes of one call: a count is an int32, and pieces let a timer run in between. */
const PIECE_BYTES = 2 ** 28;
/** How often a patient rank looks whether the others have come. */
const LONGEST_PAUSE_MS = 50;

/** What the library tells of the world once it runs. */
export interface MpiWorld {
  readonly library: OpenMpi;
  readonly rank: number;
  readonly size: number;
}

/** A collective call. */
type Call = (symbols: OpenMpiSymbols) => Promise<number>;

/** The ranks of a job. One call at a time is on its way. */
export class MpiRanks implements Ranks {
  readonly rank: number;
  readonly size: number;
  readonly #library: OpenMpi;
  readonly #timeoutMs: number;
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
    ranks.#rollCall = new RollCall(world.library.symbols, { rank, size, hosts: ranks.#hosts });
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
    const { symbols } = this.#library;
    const type = values instanceof Float32Array
      ? symbols.float
      : values instanceof Float64Array
      ? symbols.double
      : symbols.int32;
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    const { BYTES_PER_ELEMENT: width } = values;
    for (const piece of piecesOf(bytes)) {
      await this.#call(
        what,
        {},
        ({ MPI_Allreduce, sum, world }) =>
          MPI_Allreduce(IN_PLACE, piece, piece.byteLength / width, type, sum, world),
      );
    }
  }

  async gather(
    bytes: Uint8Array,
    what: string,
    options: WaitOptions = {},
  ): Promise<Uint8Array[]> {
    const length = Int32Array.of(bytes.byteLength), lengths = new Int32Array(this.size);
    // Once all have come, nothing takes long.
    await this.#call(
      what,
      options,
      ({ MPI_Allgather, int32, world }) =>
        MPI_Allgather(bytesOf(length), 1, int32, bytesOf(lengths), 1, int32, world),
    );
    const offsets = new Int32Array(this.size);
    for (let r = 1; r < this.size; r++) offsets[r] = offsets[r - 1] + lengths[r - 1];
    const total = offsets[this.size - 1] + lengths[this.size - 1];
    const all = new Uint8Array(Math.max(total, 1));
    // FFI refuses an empty buffer's address.
    const own = bytes.byteLength > 0 ? new Uint8Array(bytes) : new Uint8Array(1);
    await this.#call(what, {}, ({ MPI_Allgatherv, byte, world }) =>
      MPI_Allgatherv(
        ...[own, bytes.byteLength, byte, all] as const,
        ...[bytesOf(lengths), bytesOf(offsets), byte, world] as const,
      ));
    return Array.from(lengths, (length, r) => all.slice(offsets[r], offsets[r] + length));
  }

  async broadcast(bytes: Uint8Array, what: string, options: WaitOptions = {}): Promise<void> {
    for (const piece of piecesOf(bytes)) {
      await this.#call(
        what,
        options,
        ({ MPI_Bcast, byte, world }) => MPI_Bcast(piece, piece.byteLength, byte, 0, world),
      );
    }
  }

  async barrier(what: string, options: WaitOptions = {}): Promise<void> {
    await this.#call(what, options, ({ MPI_Barrier, world }) => MPI_Barrier(world));
  }

  async close(): Promise<void> {
    await this.#last;
    this.#rollCall = null;
    await this.#library.symbols.MPI_Finalize();
  }

  abort(code: number): void {
    const { symbols } = this.#library;
    symbols.MPI_Abort(symbols.world, code);
    Deno.exit(code);
  }

  /** Runs a call after the one before it, and ends the job if the other ranks do not come. */
  async #call(what: string, { patient = false }: WaitOptions, call: Call): Promise<void> {
    const number = ++this.#calls;
    const before = this.#last;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#last = promise;
    await before;
    const started = performance.now();
    const watch = this.#rollCall?.watch({
      number,
      what,
      timeoutMs: patient ? Infinity : this.#timeoutMs,
    });
    try {
      if (patient) await this.#arrive();
      const code = await call(this.#library.symbols);
      if (code !== 0) {
        throw new Error(`Cannot reach the other ranks for ${what}: Open MPI gave error ${code}`);
      }
    } finally {
      watch?.stop();
      this.#milliseconds += performance.now() - started;
      resolve();
    }
  }

  /** Waits for all ranks without using the processor, which the others may need. */
  async #arrive(): Promise<void> {
    const { MPI_Ibarrier, MPI_Test, world } = this.#library.symbols;
    const request = new Uint8Array(8), done = new Int32Array(1);
    MPI_Ibarrier(world, request);
    for (let pause = 1;; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
      MPI_Test(request, bytesOf(done), null);
      if (done[0] !== 0) return;
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
}

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
