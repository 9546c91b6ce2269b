/**
 * Sums of gradients over ranks that begin while the backward pass still runs, as PyTorch's
 * DistributedDataParallel does: a bucket is sent when all of its gradients are complete.
 *
 * Buckets are the same on each rank and are sent in the same order, whatever is complete first. A
 * rank without a gradient sends zeros.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { turnEventLoop } from "../../../device/event_loop.ts";
import { backwardOrder, type Bucket, bucketsOf } from "./gradient_buckets.ts";
import type { GradientReceiver, Parameters } from "../gradients.ts";

/** How values are summed. */
export interface SumCalls {
  /** Sums values over ranks in place; calls wait for those before. */
  sum(values: Float32Array, what: string): Promise<void>;
  /** How long calls have taken so far. */
  secondsInCalls(): number;
}

/** A bucket of the step. */
interface Filled {
  readonly values: Float32Array;
  /** Gradients that are still to come. */
  missing: number;
}

/** Values of a bucket. */
const sizeOf = (bucket: Bucket): number =>
  bucket.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);

/** The sums of one step at a time. */
export class OverlappedSums implements GradientReceiver {
  readonly #buckets: readonly Bucket[];
  /** Of each parameter: its bucket, and where its values begin there. */
  readonly #places = new Map<string, { bucket: number; from: number }>();
  readonly #calls: SumCalls;
  /** By bucket; made when the first gradient comes. */
  #filled = new Map<number, Filled>();
  #sent = 0;
  #sums: Promise<void>[] = [];
  /** How long calls had taken when the first bucket was sent. */
  #callsBefore: number | null = null;

  /**
   * @param parameters what trains, the same on each rank
   * @param bucketValues numbers of a bucket; default: 16 MB
   */
  constructor(parameters: Parameters, calls: SumCalls, bucketValues?: number) {
    this.#calls = calls;
    this.#buckets = bucketsOf(backwardOrder(parameters.keys()), parameters, bucketValues);
    this.#buckets.forEach((names, bucket) => {
      let from = 0;
      for (const { name } of names) {
        this.#places.set(name, { bucket, from });
        from += parameters.get(name)!.size;
      }
    });
  }

  /** How many calls a step takes. */
  get bucketCount(): number {
    return this.#buckets.length;
  }

  /** Copies a gradient; its bucket is sent if it was the last one and the buckets before are sent. */
  receive(name: string, gradient: tf.Tensor): Promise<void> | void {
    const { bucket, from } = this.#places.get(name)!;
    const filled = this.#bucket(bucket);
    filled.values.set(gradient.dataSync() as Float32Array, from);
    filled.missing--;
    const before = this.#sent;
    while (this.#filled.get(this.#sent)?.missing === 0) this.#send();
    // A call to the others begins once this thread has nothing else to do.
    if (this.#sent > before) return turnEventLoop();
  }

  /** Sends what is left; resolves once everything is summed. */
  async finish(): Promise<void> {
    while (this.#sent < this.#buckets.length) this.#send();
    await Promise.all(this.#sums);
  }

  /** The sum of a parameter's gradients, after {@linkcode finish}; a view. */
  sumOf(name: string): Float32Array {
    const { bucket, from } = this.#places.get(name)!;
    const { shape } = this.#buckets[bucket].find((one) => one.name === name)!;
    return this.#bucket(bucket).values.subarray(from, from + shape.reduce((a, b) => a * b, 1));
  }

  forget(): void {
    this.#filled = new Map();
    this.#sent = 0;
    this.#sums = [];
    this.#callsBefore = null;
  }

  /** Seconds of calls since the first bucket was sent: asked when the pass has ended. */
  secondsBeside(): number {
    return this.#callsBefore === null ? 0 : this.#calls.secondsInCalls() - this.#callsBefore;
  }

  #bucket(index: number): Filled {
    let filled = this.#filled.get(index);
    if (filled === undefined) {
      const bucket = this.#buckets[index];
      filled = { values: new Float32Array(sizeOf(bucket)), missing: bucket.length };
      this.#filled.set(index, filled);
    }
    return filled;
  }

  #send(): void {
    const index = this.#sent++;
    this.#callsBefore ??= this.#calls.secondsInCalls();
    const sum = this.#calls.sum(
      this.#bucket(index).values,
      `the gradients of ${this.#buckets[index][0].name}`,
    );
    sum.catch(() => {}); // finish() tells
    this.#sums.push(sum);
  }
}
