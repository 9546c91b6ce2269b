/**
 * Other threads that run parts of a BLAS product. A worker shares our address space, so it is told
 * addresses and touches the wasm heap in place; it sleeps on a shared word in between.
 * @module
 */
import { Worker } from "node:worker_threads";

/** One call of cblas_sgemm, row-major, alpha 1; addresses are those of the process. */
export interface Sgemm {
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly a: bigint;
  readonly lda: number;
  readonly b: bigint;
  readonly ldb: number;
  readonly accumulate: boolean;
  readonly c: bigint;
  readonly ldc: number;
}

/** Threads that are ready for work. */
export interface BlasThreads {
  readonly count: number;
  /** Has thread `index` start on a product. */
  start(index: number, product: Sgemm): void;
  /**
   * Waits until every product that was started is done.
   * @throws {Error} where a thread has died
   */
  wait(): void;
}

// Words of the shared block: 0 job number, 1 job done, 2 state, then the integers of the call; the
// three addresses follow as 64-bit words 8 to 10.
const READY = 1;
const BLOCK_BYTES = 128;
const WAIT_MS = 60_000;
/** Polls before sleeping: some 20 µs, since most products follow one another. */
const SPINS = 4000;

const WORKER = `
const { workerData: { block, library } } = require("node:worker_threads");
const words = new Int32Array(block), wide = new BigUint64Array(block);
const { symbols } = Deno.dlopen(library, { cblas_sgemm: { parameters: ["i32", "i32", "i32", "i32",
  "i32", "i32", "f32", "usize", "i32", "usize", "i32", "f32", "usize", "i32"], result: "void" } });
let seen = 0;
Atomics.store(words, 2, ${READY});
Atomics.notify(words, 2);
for (;;) {
  for (let i = 0; i < ${SPINS} && Atomics.load(words, 0) === seen; i++);
  Atomics.wait(words, 0, seen);
  seen = Atomics.load(words, 0);
  const [ta, tb, m, n, k, lda, ldb, ldc, accumulate] = words.subarray(3, 12);
  symbols.cblas_sgemm(101, ta, tb, m, n, k, 1, wide[8], lda, wide[9], ldb, accumulate, wide[10], ldc);
  Atomics.store(words, 1, seen);
  Atomics.notify(words, 1);
}
`;

interface Thread {
  readonly words: Int32Array<SharedArrayBuffer>;
  readonly wide: BigUint64Array<SharedArrayBuffer>;
}

/** CBLAS's name for an operand as it is or transposed. */
export function transposeCode(transpose: boolean): number {
  return transpose ? 112 : 111;
}

async function startThread(library: string): Promise<Thread | null> {
  const block = new SharedArrayBuffer(BLOCK_BYTES);
  const words = new Int32Array(block);
  const worker = new Worker(WORKER, { eval: true, workerData: { block, library } });
  worker.unref();
  worker.on("error", () => Atomics.store(words, 2, -1));
  const state = Atomics.waitAsync(words, 2, 0, 5000);
  await state.value;
  if (Atomics.load(words, 2) !== READY) return null;
  return { words, wide: new BigUint64Array(block) };
}

function waitFor({ words }: Thread): void {
  const job = words[0];
  for (let i = 0; i < SPINS; i++) if (Atomics.load(words, 1) === job) return;
  const deadline = Date.now() + WAIT_MS;
  for (let done = Atomics.load(words, 1); done !== job; done = Atomics.load(words, 1)) {
    Atomics.wait(words, 1, done, WAIT_MS);
    if (Date.now() > deadline) {
      throw new Error(
        "Cannot finish a matrix product: a BLAS thread does not answer; set NANOVLM_THREADS=1.",
      );
    }
  }
}

/** Starts `count` threads, or as many as start. */
export async function startBlasThreads(library: string, count: number): Promise<BlasThreads> {
  const started = await Promise.all(Array.from({ length: count }, () => startThread(library)));
  const threads = started.filter((thread) => thread !== null);
  return {
    count: threads.length,
    start(index, p) {
      const { words, wide } = threads[index];
      // deno-fmt-ignore
      words.set([
        transposeCode(p.transposeA), transposeCode(p.transposeB), p.m, p.n, p.k, p.lda, p.ldb,
        p.ldc, p.accumulate ? 1 : 0,
      ], 3);
      wide.set([p.a, p.b, p.c], 8);
      Atomics.add(words, 0, 1);
      Atomics.notify(words, 0);
    },
    wait() {
      for (const thread of threads) waitFor(thread);
    },
  };
}
