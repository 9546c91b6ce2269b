/**
 * Times of something that is done again and again.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../device/read_back.ts";
import type { Clock } from "./clock.ts";

/** The middle of some numbers, of an even count the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** Waits until the device has computed `tensor`; not at all if ops are synchronous. */
export async function waitFor(tensor: tf.Tensor): Promise<void> {
  if (tf.getBackend() !== "webgpu" || tensor.size === 0) return;
  const one = tf.tidy(() => tensor.reshape([tensor.size]).slice(0, 1));
  await readBack([one]);
  one.dispose();
}

/** Times in seconds. */
export interface Timing {
  readonly median: number;
  readonly fastest: number;
}

/** How often to do it. */
export interface TimingOptions {
  /** Samples. */
  readonly reps: number;
  readonly clock: Clock;
  /** A sample repeats what is timed until it takes about so long; 0: once. */
  readonly sampleSeconds?: number;
}

/** Most repeats in a sample. */
const MOST_REPEATS = 1000;

/**
 * Times `run` after one warm-up.
 *
 * @param run does the work once and returns the tensor to wait for, which is freed here
 * @returns seconds of one run
 */
export async function timed(
  run: () => tf.Tensor | Promise<tf.Tensor>,
  { reps, clock, sampleSeconds = 0 }: TimingOptions,
): Promise<Timing> {
  const sample = async (repeats: number): Promise<number> => {
    const start = clock();
    for (let i = 0; i < repeats; i++) {
      const tensor = await run();
      if (i === repeats - 1) await waitFor(tensor);
      tensor.dispose();
    }
    return (clock() - start) / repeats;
  };
  await sample(1);
  const repeats = sampleSeconds === 0 ? 1 : Math.max(
    1,
    Math.min(MOST_REPEATS, Math.ceil(sampleSeconds / Math.max(await sample(1), 1e-9))),
  );
  const times: number[] = [];
  for (let i = 0; i < reps; i++) times.push(await sample(repeats));
  return { median: median(times), fastest: Math.min(...times) };
}
