/**
 * Threads that decode, resize and cut pictures while the main thread computes. They give the bytes
 * that the main thread would, and keep no process alive.
 *
 * @module
 */
import { Worker } from "node:worker_threads";
import { augmentedPicture } from "./augment/augmented_picture.ts";
import type { AugmentationPlan } from "./augment/plan.ts";
import { ImageDecodeError } from "./image_header.ts";
import type { ImageProcessor, ProcessedImage } from "./image_processor.ts";
import type { ImageAnswer, ImageJob, WorkerGreeting } from "./image_worker.ts";

/** Most threads that `null` starts: beyond them the main thread cannot keep up. */
const MOST_WORKERS = 8;

/** Threads that a machine can spare: one per core except one for the main thread, at least one. */
export function spareWorkers(): number {
  return Math.min(MOST_WORKERS, Math.max(1, navigator.hardwareConcurrency - 1));
}

/** A picture in a queue. */
interface Waiting {
  readonly bytes: Uint8Array;
  readonly plan: AugmentationPlan | null;
  readonly resolve: (image: ProcessedImage | PromiseLike<ProcessedImage>) => void;
  readonly reject: (error: unknown) => void;
}

const closed = (): Error => new Error("Cannot process a picture: the threads were closed");

/** One thread. */
interface Thread {
  readonly worker: Worker;
  /** Jobs by their numbers; sent when the thread is `ready`. */
  readonly jobs: Map<number, Waiting>;
  ready: boolean;
}

/**
 * The program of a thread. It is given as text, since a thread of this kind starts from no address
 * on the network, but may import from one.
 */
function program(processor: ImageProcessor, module: string): URL {
  const options = JSON.stringify(processor.worker.options);
  const source = `import { parentPort } from "node:worker_threads";
import(${JSON.stringify(module)})
  .then(({ serveImages }) => serveImages(parentPort, ${options}))
  .catch((error) => parentPort.postMessage({ ready: false, reason: String(error?.message ?? error) }));`;
  return new URL(`data:application/javascript,${encodeURIComponent(source)}`);
}

/**
 * Threads for one image processor. Before they are started, and if one fails, pictures are
 * processed on the calling thread.
 */
export class ImageWorkers {
  readonly #processor: ImageProcessor;
  readonly #module: string;
  #threads: Thread[] = [];
  #nextId = 0;
  #hereMs = 0;
  /** Counts calls of `close`. */
  #round = 0;
  /** Pictures are processed here one after the other: decoded, one takes far more than its file. */
  #here: Promise<unknown> = Promise.resolve();

  /**
   * @param processor what each thread does
   * @param module address of what they run; default: the processor's
   */
  constructor(processor: ImageProcessor, module: string = processor.worker.module) {
    this.#processor = processor;
    this.#module = module;
  }

  /** Running threads. */
  get count(): number {
    return this.#threads.length;
  }

  /** Milliseconds spent on pictures on the calling thread so far. */
  get hereMs(): number {
    return this.#hereMs;
  }

  /** Starts threads; does not wait for them. */
  start(count: number): void {
    for (let i = 0; i < count; i++) this.#start();
  }

  #start(): void {
    let worker: Worker;
    try {
      worker = new Worker(program(this.#processor, this.#module));
    } catch {
      return; // no permission, no threads: it is done here
    }
    const thread: Thread = { worker, jobs: new Map(), ready: false };
    worker.unref();
    worker.on("message", (said: ImageAnswer | WorkerGreeting) => {
      if ("id" in said) this.#answered(thread, said);
      else if (said.ready) {
        thread.ready = true;
        for (const [id, { bytes, plan }] of thread.jobs) {
          worker.postMessage({ id, bytes, plan } satisfies ImageJob);
        }
      } else this.#lost(thread);
    });
    worker.on("error", () => this.#lost(thread));
    worker.on("exit", () => this.#lost(thread));
    this.#threads.push(thread);
  }

  #answered(thread: Thread, answer: ImageAnswer): void {
    const job = thread.jobs.get(answer.id);
    if (job === undefined) return;
    thread.jobs.delete(answer.id);
    if (thread.jobs.size === 0) thread.worker.unref();
    if ("image" in answer) job.resolve(answer.image);
    else if ("unusable" in answer) job.reject(new ImageDecodeError(answer.unusable));
    else job.resolve(this.#processHere(job.bytes, job.plan));
  }

  /** A thread died or did not start: its jobs are done on this thread. */
  #lost(thread: Thread): void {
    if (!this.#threads.includes(thread)) return;
    this.#threads = this.#threads.filter((other) => other !== thread);
    thread.worker.terminate();
    for (const { bytes, plan, resolve } of thread.jobs.values()) {
      resolve(this.#processHere(bytes, plan));
    }
    thread.jobs.clear();
  }

  #processHere(bytes: Uint8Array, plan: AugmentationPlan | null): Promise<ProcessedImage> {
    const round = this.#round;
    const image = this.#here.then(async () => {
      if (round !== this.#round) throw closed();
      const started = performance.now();
      try {
        return await this.#processor.process(plan ? await augmentedPicture(bytes, plan) : bytes);
      } finally {
        this.#hereMs += performance.now() - started;
      }
    });
    this.#here = image.catch(() => {});
    return image;
  }

  /**
   * Decodes, resizes and cuts a picture.
   *
   * @param bytes the file
   * @param plan what is done to the picture before; null: nothing
   * @throws {ImageDecodeError} if it cannot be decoded
   */
  process(bytes: Uint8Array, plan: AugmentationPlan | null = null): Promise<ProcessedImage> {
    if (this.#threads.length === 0) return this.#processHere(bytes, plan);
    const thread = this.#threads.reduce((idlest, other) =>
      other.jobs.size < idlest.jobs.size ? other : idlest
    );
    const { promise, resolve, reject } = Promise.withResolvers<ProcessedImage>();
    const id = this.#nextId++;
    thread.jobs.set(id, { bytes, plan, resolve, reject });
    thread.worker.ref(); // the process must not end before the answer
    if (thread.ready) thread.worker.postMessage({ id, bytes, plan } satisfies ImageJob);
    return promise;
  }

  /** Ends the threads; pending pictures are rejected. */
  async close(): Promise<void> {
    const threads = this.#threads;
    this.#threads = [];
    this.#round++;
    for (const { jobs } of threads) {
      for (const { reject } of jobs.values()) reject(closed());
      jobs.clear();
    }
    await Promise.all(threads.map(({ worker }) => worker.terminate()));
  }
}
