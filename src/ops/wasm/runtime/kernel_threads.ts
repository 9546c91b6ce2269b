/**
 * Other threads that take parts of a kernel's work. Each has its own instance of our module on the
 * shared wasm heap, with a stack of its own, and sleeps on a shared word in between.
 *
 * Work is cut into calls that write different places and whose bits do not depend on the cuts. Each
 * thread, ours included, takes the next free call. So the bits are those of one thread, and a thread
 * that the system does not run delays no other.
 * @module
 */
import type { Kernel } from "./kernel_module.ts";
import { spawnKernelThread, type ThreadBlas } from "./spawn_kernel_thread.ts";

/** What a thread starts with. */
export interface KernelThreadOptions {
  readonly memory: WebAssembly.Memory;
  readonly code: WebAssembly.Module;
  /** The start of the stack of each thread beside our own (they grow down). */
  readonly stacks: readonly number[];
  readonly blas: ThreadBlas | null;
  /** How long to wait for a thread that does not answer. Default: a minute. */
  readonly patienceMs?: number;
}

/** Scratch memory that each call needs for itself. */
export interface CallScratch {
  /** Which parameter takes its address. */
  readonly parameter: number;
  /** Where it starts, and its bytes for each thread. */
  readonly address: number;
  readonly stride: number;
}

/** Threads to share work with. */
export interface KernelThreads {
  /** Threads, ours included. */
  readonly count: number;
  /** Whether our own thread runs a call, which then must not be cut again. */
  readonly busy: boolean;
  /**
   * Runs calls of one kernel, none of which reads or writes what another writes.
   *
   * @param library which of the libraries computes large products inside the calls; default the first
   * @throws {Error} if a thread has died in a call; later calls all run on our own thread
   */
  run(
    kernel: string,
    calls: readonly (readonly number[])[],
    scratch?: CallScratch,
    library?: number,
  ): void;
  /** Ends the other threads. Calls then all run on our own. */
  stop(): void;
}

/** Words of the shared block; the code of the threads uses the plain numbers. */
const WORD = { job: 0, claim: 1, done: 2, failed: 3, spec: 4, library: 10 } as const;
/** Calls of a job; `claim` holds the job's number times this, plus the next free call. */
const MOST_CALLS = 64;
const MOST_PARAMETERS = 32;
const BLOCK_BYTES = 64 + 8 * MOST_CALLS * MOST_PARAMETERS;
/**
 * Polls before sleeping, some 300 µs: longer than the host takes from one call to the next, because
 * waking a thread costs as much as a small call. `Atomics.pause` leaves the core to its other thread.
 */
const SPINS = 12_000;
const PATIENCE_MS = 60_000;

/**
 * Takes calls of the current job until none is left. `claim` is −1 while a job is being written,
 * which only happens once all calls of the one before are done. It runs in the threads too, as
 * source text, so it must use only its parameters.
 */
function takeCalls(
  words: Int32Array,
  numbers: Float64Array,
  kernels: readonly Kernel[],
  thread: number,
): void {
  for (;;) {
    const claim = Atomics.load(words, 1);
    const call = claim & 63;
    const [kernel, calls, parameters, scratchParameter, scratch, stride] = words.subarray(4, 10);
    if (claim < 0 || call >= calls) return;
    if (Atomics.compareExchange(words, 1, claim, claim + 1) !== claim) continue;
    try {
      const at = 8 + call * parameters;
      const list = Array.from(numbers.subarray(at, at + parameters));
      if (scratchParameter >= 0) list[scratchParameter] = (scratch >>> 0) + thread * stride;
      kernels[kernel](...list);
    } catch {
      Atomics.store(words, 3, 1);
    }
    if (Atomics.add(words, 2, 1) + 1 === calls) Atomics.notify(words, 2);
  }
}

/** What a thread runs, as source text: a function of its data and of the products of a library. */
const THREAD = `({ block, memory, code, names, stack, thread }, productOf) => {
  const words = new Int32Array(block), numbers = new Float64Array(block);
  const { exports: kernels } = new WebAssembly.Instance(code, {
    env: { memory, large_gemm: productOf(() => Atomics.load(words, ${WORD.library})) },
  });
  kernels.__stack_pointer.value = stack | 0;
  const list = names.map((name) => kernels[name]);
  const takeCalls = ${takeCalls};
  let seen = Atomics.load(words, 0);
  for (;;) {
    takeCalls(words, numbers, list, thread);
    for (let i = 0; i < ${SPINS} && Atomics.load(words, 0) === seen; i++) Atomics.pause?.();
    Atomics.wait(words, 0, seen);
    seen = Atomics.load(words, 0);
  }
}`;

/** Waits until all calls are done; false if no call has finished for `patienceMs`. */
function waitForCalls(words: Int32Array, calls: number, patienceMs: number): boolean {
  for (let i = 0; i < SPINS; i++) {
    if (Atomics.load(words, WORD.done) === calls) return true;
    Atomics.pause?.();
  }
  // Counted in short waits and not by the clock, which jumps by hours if the machine sleeps.
  const waitMs = Math.min(1000, patienceMs);
  let left = Math.ceil(patienceMs / waitMs);
  for (;;) {
    const done = Atomics.load(words, WORD.done);
    if (done === calls) return true;
    if (Atomics.wait(words, WORD.done, done, waitMs) === "timed-out" && --left === 0) return false;
  }
}

/**
 * Starts threads beside our own, one for each stack. Nothing waits for them to start: until one is
 * up, and if one cannot start, the others take its calls.
 *
 * @param kernels our own thread's instance
 */
export function startKernelThreads(
  kernels: Readonly<Record<string, Kernel>>,
  { memory, code, stacks, blas, patienceMs = PATIENCE_MS }: KernelThreadOptions,
): KernelThreads {
  const block = new SharedArrayBuffer(BLOCK_BYTES);
  const words = new Int32Array(block);
  const numbers = new Float64Array(block);
  Atomics.store(words, WORD.claim, -1);
  const names = Object.keys(kernels);
  const list = names.map((name) => kernels[name]);
  const workers = stacks.map((stack, i) =>
    spawnKernelThread(THREAD, { block, memory, code, names, stack, blas, thread: i + 1 })
  );
  let alive = workers.length > 0;
  let busy = false;
  let job = 0;
  const runAlone = (
    kernel: Kernel,
    calls: readonly (readonly number[])[],
    scratch: CallScratch | undefined,
  ): void => {
    busy = true;
    try {
      for (const call of calls) {
        const parameters = [...call];
        if (scratch !== undefined) parameters[scratch.parameter] = scratch.address;
        kernel(...parameters);
      }
    } finally {
      busy = false;
    }
  };
  return {
    get count() {
      return alive ? workers.length + 1 : 1;
    },
    get busy() {
      return busy;
    },
    run(name, calls, scratch, library = 0) {
      const index = names.indexOf(name);
      if (index < 0) throw new Error(`No kernel named ${name}.`);
      const width = calls[0]?.length ?? 0;
      if (busy || calls.length >= MOST_CALLS || width > MOST_PARAMETERS) {
        throw new Error(`Cannot cut ${name} into ${calls.length} calls of ${width} parameters`);
      }
      if (!alive) return runAlone(list[index], calls, scratch);
      Atomics.store(words, WORD.claim, -1);
      // deno-fmt-ignore
      words.set([
        index, calls.length, width, scratch?.parameter ?? -1, scratch?.address ?? 0,
        scratch?.stride ?? 0,
      ], WORD.spec);
      calls.forEach((call, i) => numbers.set(call, 8 + i * width));
      Atomics.store(words, WORD.library, library);
      Atomics.store(words, WORD.failed, 0);
      Atomics.store(words, WORD.done, 0);
      job = (job + 1) & 0xffffff;
      Atomics.store(words, WORD.claim, job * MOST_CALLS);
      Atomics.add(words, WORD.job, 1);
      Atomics.notify(words, WORD.job);
      busy = true;
      try {
        takeCalls(words, numbers, list, 0);
      } finally {
        busy = false;
      }
      if (!waitForCalls(words, calls.length, patienceMs)) {
        alive = false;
        throw new Error(
          `Cannot finish ${name}: a thread of the kernels does not answer; set NANOVLM_THREADS=1`,
        );
      }
      if (Atomics.load(words, WORD.failed) !== 0) {
        throw new Error(`Cannot finish ${name}: a thread of the kernels failed in it`);
      }
    },
    stop() {
      alive = false;
      for (const worker of workers) worker.terminate();
    },
  };
}
