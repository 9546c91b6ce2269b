/**
 * What keeps the ranks of a run alike: weights and optimizer state from rank 0, and a check that all ranks
 * hold the same bits.
 *
 * @module
 */
import { createHash } from "node:crypto";
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../../device/read_back.ts";
import { gatherJson, type Ranks } from "../../distributed/ranks.ts";
import type { RunState } from "../checkpoint/run_state.ts";
import type { Optimizer } from "../optimizer/optimizer.ts";
import type { Parameters } from "./gradients.ts";

/** SHA-256 of tensors, in the order of their names. */
export async function tensorHash(tensors: ReadonlyMap<string, tf.Tensor>): Promise<string> {
  const hash = createHash("sha256");
  for (const name of [...tensors.keys()].sort()) {
    const [{ buffer, byteOffset, byteLength }] = await readBack([tensors.get(name)!]);
    hash.update(`${name}\n`);
    // A copy: the heap of threads is shared memory, which a hash does not take.
    hash.update(new Uint8Array(buffer, byteOffset, byteLength).slice());
  }
  return hash.digest("hex");
}

/**
 * The ranks whose value is not that of most ranks; if there is no majority, those that differ from
 * rank 0.
 */
export function oddRanks(values: readonly string[]): number[] {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  const most = Math.max(...counts.values());
  const leaders = [...counts].filter(([, count]) => count === most).map(([value]) => value);
  const usual = leaders.includes(values[0]) ? values[0] : leaders[0];
  return values.flatMap((value, rank) => value === usual ? [] : [rank]);
}

/**
 * Checks that every rank holds the same bits.
 *
 * @param when for the message: `at step 10`
 * @throws {Error} on every rank, if one differs; it names the odd ones
 */
export async function checkSameWeights(
  ranks: Ranks,
  weights: ReadonlyMap<string, tf.Tensor>,
  when: string,
): Promise<void> {
  if (ranks.size === 1) return;
  const hashes = await gatherJson(ranks, await tensorHash(weights), "the check of the weights");
  const odd = oddRanks(hashes);
  if (odd.length === 0) return;
  const named = odd.map((rank) => `rank ${rank} (${ranks.hosts[rank]})`).join(", ");
  throw new Error(
    `Cannot go on: ${when}, ${named} has other weights than the other ranks. Ranks must start from ` +
      "the same model files and run the same version on the same kind of backend",
  );
}

/** Gives every rank the weights of rank 0. */
export async function broadcastWeights(ranks: Ranks, parameters: Parameters): Promise<void> {
  if (ranks.size === 1) return;
  for (const [name, parameter] of parameters) {
    const [read] = await readBack([parameter]) as Float32Array[];
    const values = read.slice();
    await ranks.broadcast(new Uint8Array(values.buffer), `the weights ${name}`);
    if (ranks.rank > 0) tf.tidy(() => parameter.assign(tf.tensor(values, parameter.shape)));
  }
}

/**
 * Gives every rank the weights, state and update counts of rank 0.
 *
 * @param run updates that each parameter has had, and numbers of groups; those of rank 0 count
 */
export async function broadcastOptimizer(
  ranks: Ranks,
  optimizer: Optimizer,
  run: Pick<RunState, "optimizer_steps" | "optimizer_numbers">,
): Promise<void> {
  if (ranks.size === 1) return;
  await broadcastWeights(ranks, optimizer.parameters);
  const { arrays } = await optimizer.state();
  for (const [name, { data: { buffer, byteOffset, byteLength } }] of arrays) {
    const bytes = new Uint8Array(buffer, byteOffset, byteLength);
    await ranks.broadcast(bytes, `the state ${name}`);
  }
  const { optimizer_steps: steps, optimizer_numbers: numbers = {} } = run;
  if (ranks.rank > 0) optimizer.restore({ steps: { ...steps }, arrays, numbers });
}
