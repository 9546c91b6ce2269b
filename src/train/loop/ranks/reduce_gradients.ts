/**
 * The gradients of a step, summed over ranks: once a step, after its last micro-batch.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../../../device/read_back.ts";
import { wasmHeap } from "../../../device/wasm_heap.ts";
import type { TrainingSection } from "../../../config/types/config_types.ts";
import { sumInBfloat16 } from "../../../distributed/bfloat16_sum.ts";
import type { Ranks } from "../../../distributed/ranks.ts";
import { type Bucket, bucketsOf } from "./gradient_buckets.ts";
import type { GradientAccumulator, Parameters } from "../gradients.ts";
import type { OverlappedSums } from "./overlapped_sums.ts";

/** What a step's sum over ranks took. */
export interface ReducedStep {
  /** Sum of the losses of all ranks. */
  readonly loss: number;
  /** Of all ranks. */
  readonly tokens: number;
  /** Of all ranks. */
  readonly padding: number;
  /** The rank that the others waited for the longest. */
  readonly slowestRank: number;
  /** How long a rank waited for it, the mean of all ranks, seconds. */
  readonly waitSeconds: number;
  /** How long the sums took after that, seconds. */
  readonly reduceSeconds: number;
}

/** Who sums gradients, and how they are sent. */
export interface GradientExchange {
  readonly ranks: Ranks;
  readonly compression: TrainingSection["gradient_compression"];
  /** Sums that began while the backward pass ran; null: they begin after it. */
  readonly overlapped?: OverlappedSums | null;
}

/** What this rank brings to a step's sum. */
export interface RankStep {
  /** Scalars on the device. */
  readonly losses: readonly tf.Scalar[];
  readonly tokens: number;
  readonly padding: number;
  /** Seconds of the step in which this rank did not wait for others. */
  readonly ownSeconds: number;
}

/**
 * Replaces the accumulated gradients by their sums over all ranks, the same bits on each. A parameter
 * that has a gradient on any rank has one on all of them afterwards.
 *
 * @param accumulator of this rank
 * @param parameters what trains, in the same order on each rank
 * @param step losses and time of this rank
 */
export async function reduceGradients(
  exchange: GradientExchange,
  accumulator: GradientAccumulator,
  parameters: Parameters,
  { losses, tokens, padding, ownSeconds }: RankStep,
): Promise<ReducedStep> {
  const { ranks, overlapped = null } = exchange;
  const names = [...parameters.keys()];
  const ended = performance.now();
  await overlapped?.finish();
  const loss = (await readBack([...losses])).reduce((sum, [value]) => sum + value, 0);
  // One small call tells the losses, the times, and which parameters have a gradient.
  const times = new Array<number>(ranks.size).fill(0);
  times[ranks.rank] = ownSeconds;
  const present = names.map((name) => accumulator.gradients.has(name) ? 1 : 0);
  const header = Float64Array.of(loss, tokens, padding, ...times, ...present);
  await ranks.sum(header, "the losses of a step");
  const started = performance.now();
  const allTimes = Array.from(header.subarray(3, 3 + ranks.size));
  const reduced = names.filter((_, i) => header[3 + ranks.size + i] > 0);
  const longest = Math.max(...allTimes);
  let reduceSeconds: number;
  if (overlapped === null) {
    for (const bucket of bucketsOf(reduced, parameters)) {
      await reduceBucket(exchange, accumulator, bucket);
    }
    reduceSeconds = (performance.now() - started) / 1000;
  } else {
    for (const name of reduced) put(accumulator, name, parameters.get(name)!.shape, overlapped);
    // What the sums took after this rank's own pass, less the wait for the slowest one's.
    const waited = longest - allTimes[ranks.rank];
    reduceSeconds = Math.max(0, (performance.now() - ended) / 1000 - waited);
  }
  return {
    loss: header[0],
    tokens: header[1],
    padding: header[2],
    slowestRank: allTimes.indexOf(longest),
    waitSeconds: allTimes.reduce((sum, time) => sum + longest - time, 0) / ranks.size,
    reduceSeconds,
  };
}

/** The values of a tensor on the wasm heap in place; null if they lie elsewhere or are shared. */
function onHeap(tensor: tf.Tensor): Float32Array | null {
  const heap = wasmHeap();
  if (heap === null || tf.getBackend() !== "wasm") return null;
  const { memoryOffset, refCount } = heap.backend.dataIdMap.get(tensor.dataId);
  if (refCount > 1) return null;
  return new Float32Array(heap.memory.buffer, memoryOffset, tensor.size);
}

/** Replaces a gradient by its sum. */
function put(
  accumulator: GradientAccumulator,
  name: string,
  shape: number[],
  sums: OverlappedSums,
): void {
  const values = sums.sumOf(name);
  const before = accumulator.gradients.get(name);
  const view = before === undefined ? null : onHeap(before);
  if (view !== null) view.set(values);
  else accumulator.set(name, tf.tensor(values, shape));
}

/** Sums values over ranks in place. */
export async function sumOverRanks(
  { ranks, compression }: Pick<GradientExchange, "ranks" | "compression">,
  values: Float32Array,
  what: string,
): Promise<void> {
  if (compression === "bf16") await sumInBfloat16(ranks, values, what);
  else await ranks.sum(values, what);
}

async function reduceBucket(
  exchange: GradientExchange,
  accumulator: GradientAccumulator,
  bucket: Bucket,
): Promise<void> {
  const what = `the gradients of ${bucket[0].name}`;
  for (const { name, shape } of bucket) {
    if (!accumulator.gradients.has(name)) accumulator.set(name, tf.zeros(shape));
  }
  const tensors = bucket.map(({ name }) => accumulator.gradients.get(name)!);
  const views = tensors.map(onHeap);
  if (views.length === 1 && views[0] !== null) return await sumOverRanks(exchange, views[0], what);
  const values = views.includes(null) ? await readBack(tensors) as Float32Array[] : views;
  const joined = new Float32Array(tensors.reduce((total, { size }) => total + size, 0));
  let at = 0;
  for (const part of values) {
    joined.set(part!, at);
    at += part!.length;
  }
  await sumOverRanks(exchange, joined, what);
  at = 0;
  bucket.forEach(({ name, shape }, i) => {
    const part = joined.subarray(at, at + tensors[i].size);
    at += tensors[i].size;
    const view = onHeap(tensors[i]); // anew: the heap may have grown
    if (view !== null) view.set(part);
    else accumulator.set(name, tf.tensor(part, shape));
  });
}
