/**
 * Other threads that take parts of a BLAS product. A worker shares our address space, so it is told
 * addresses and touches the wasm heap in place; it sleeps on a shared word in between.
 *
 * A product is cut into parts in the same way whoever runs them, so that its bits do not depend on
 * timing; each thread, ours included, takes the next part that is free, so that a thread which the
 * system does not run holds up nobody.
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

/** Threads to share products with. */
export interface BlasThreads {
  /** Threads beside our own. */
  readonly count: number;
  /**
   * Runs a product on all threads, and ours.
   * @throws {Error} where a thread has died
   */
  run(product: Sgemm): void;
}

/** cblas_sgemm, as Deno's FFI calls it. */
export type SgemmFunction = (...parameters: (number | bigint)[]) => void;

/**
 * Words of the shared block. `claim` holds the job's number and the next free part, or −1 while a
 * job is being written, which only happens once all parts of the one before are done.
 */
const WORD = { job: 0, claim: 1, done: 2, spec: 4, addresses: 10 } as const;
const PARTS_MASK = 1023;
const BLOCK_BYTES = 128;
const WAIT_MS = 60_000;
/** Polls before sleeping: some 20 µs, since most products follow one another. */
const SPINS = 4000;
const ROW_MAJOR = 101;
const NO_TRANSPOSE = 111;
const TRANSPOSE = 112;

/**
 * Takes parts of the current job until none is left. Runs in the workers too, as source text: it
 * uses nothing but its parameters.
 */
function takeParts(
  words: Int32Array,
  wide: BigUint64Array,
  sgemm: SgemmFunction,
): void {
  for (;;) {
    const claim = Atomics.load(words, 1);
    const part = claim & 1023;
    const [ta, tb, m, n, k, lda, ldb, ldc, accumulate, byRows, step, parts] = words.subarray(4, 16);
    if (claim < 0 || part >= parts) return;
    const [a, b, c] = wide.subarray(10, 13);
    if (Atomics.compareExchange(words, 1, claim, claim + 1) !== claim) continue;
    const start = part * step;
    const size = Math.min(step, (byRows ? m : n) - start);
    const aAt = byRows ? BigInt(start * (ta === 112 ? 1 : lda) * 4) : 0n;
    const bAt = byRows ? 0n : BigInt(start * (tb === 112 ? ldb : 1) * 4);
    const cAt = BigInt(start * (byRows ? ldc : 1) * 4);
    // deno-fmt-ignore
    sgemm(
      101, ta, tb, byRows ? size : m, byRows ? n : size, k, 1, a + aAt, lda, b + bAt, ldb,
      accumulate, c + cAt, ldc,
    );
    if (Atomics.add(words, 2, 1) + 1 === parts) Atomics.notify(words, 2);
  }
}

const WORKER = `
const { workerData: { block, library } } = require("node:worker_threads");
const words = new Int32Array(block), wide = new BigUint64Array(block);
const { symbols } = Deno.dlopen(library, { cblas_sgemm: { parameters: ["i32", "i32", "i32", "i32",
  "i32", "i32", "f32", "usize", "i32", "usize", "i32", "f32", "usize", "i32"], result: "void" } });
${takeParts}
let seen = Atomics.load(words, 0);
for (;;) {
  for (let i = 0; i < ${SPINS} && Atomics.load(words, 0) === seen; i++);
  Atomics.wait(words, 0, seen);
  seen = Atomics.load(words, 0);
  takeParts(words, wide, symbols.cblas_sgemm);
}
`;

function waitForParts(words: Int32Array, parts: number): void {
  for (let i = 0; i < SPINS; i++) if (Atomics.load(words, WORD.done) === parts) return;
  const deadline = Date.now() + WAIT_MS;
  for (;;) {
    const done = Atomics.load(words, WORD.done);
    if (done === parts) return;
    Atomics.wait(words, WORD.done, done, 1000);
    if (Date.now() > deadline) {
      throw new Error(
        "Cannot finish a matrix product: a BLAS thread does not answer; set NANOVLM_THREADS=1.",
      );
    }
  }
}

/** How a product is cut for `threads` threads: along the longer side of c, in whole tiles. */
function cut({ m, n }: Sgemm, threads: number): { byRows: boolean; step: number; parts: number } {
  const byRows = m >= n;
  const length = byRows ? m : n;
  // 24 rows and 64 columns are whole tiles of the BLAS kernels in use. Two parts a thread even out
  // what the system gives each.
  const tile = byRows ? 24 : 64;
  const step = Math.max(tile, Math.ceil(length / (2 * threads) / tile) * tile);
  return { byRows, step, parts: Math.min(Math.ceil(length / step), PARTS_MASK) };
}

/** Runs a product on this thread alone. */
export function runSgemm(sgemm: SgemmFunction, p: Sgemm): void {
  // deno-fmt-ignore
  sgemm(
    ROW_MAJOR, p.transposeA ? TRANSPOSE : NO_TRANSPOSE, p.transposeB ? TRANSPOSE : NO_TRANSPOSE,
    p.m, p.n, p.k, 1, p.a, p.lda, p.b, p.ldb, p.accumulate ? 1 : 0, p.c, p.ldc,
  );
}

/**
 * Starts `count` threads beside our own, which calls `sgemm`. Nobody waits for them: until one is up,
 * and where one cannot start, the others take its parts.
 */
export function startBlasThreads(
  library: string,
  sgemm: SgemmFunction,
  count: number,
): BlasThreads {
  const block = new SharedArrayBuffer(BLOCK_BYTES);
  const words = new Int32Array(block);
  const wide = new BigUint64Array(block);
  Atomics.store(words, WORD.claim, -1);
  for (let i = 0; i < count; i++) {
    const worker = new Worker(WORKER, { eval: true, workerData: { block, library } });
    worker.unref();
    worker.on("error", () => {});
  }
  let job = 0;
  return {
    count,
    run(p) {
      const { byRows, step, parts } = cut(p, count + 1);
      if (parts === 1) return runSgemm(sgemm, p);
      Atomics.store(words, WORD.claim, -1);
      // deno-fmt-ignore
      words.set([
        p.transposeA ? TRANSPOSE : NO_TRANSPOSE, p.transposeB ? TRANSPOSE : NO_TRANSPOSE, p.m, p.n,
        p.k, p.lda, p.ldb, p.ldc, p.accumulate ? 1 : 0, byRows ? 1 : 0, step, parts,
      ], WORD.spec);
      wide.set([p.a, p.b, p.c], WORD.addresses);
      Atomics.store(words, WORD.done, 0);
      job = (job + 1) & 0xfffff;
      Atomics.store(words, WORD.claim, job * (PARTS_MASK + 1));
      Atomics.add(words, WORD.job, 1);
      Atomics.notify(words, WORD.job);
      takeParts(words, wide, sgemm);
      waitForParts(words, parts);
    },
  };
}
