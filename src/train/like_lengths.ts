/**
 * Rows of like length together, so that little of a batch is padding.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { ModelBatch } from "../model/batch.ts";
import type { VLMConfig } from "../model/config.ts";

/**
 * Tokens that take as long as launching a part's kernels: some hundred launches, which a GPU waits
 * for longer than a CPU computes.
 */
const LAUNCH_TOKENS = { cpu: 96, gpu: 1024 } as const;

/**
 * What a part of a batch costs beyond its tokens, in tokens: launching the kernels, and room for the
 * gradients of the parts before it, in place of activations.
 *
 * @param trained numbers that train
 */
export function partCost(trained: number, config: VLMConfig): number {
  const { lm_n_blocks, lm_hidden_dim, lm_inter_dim } = config;
  const floatsPerToken = lm_n_blocks * (8 * lm_hidden_dim + 3 * lm_inter_dim);
  const launches = LAUNCH_TOKENS[tf.getBackend() === "webgpu" ? "gpu" : "cpu"];
  return launches + Math.ceil(trained / floatsPerToken);
}

/** Tokens of a batch that are padding. */
export function paddingOf({ layout }: ModelBatch): number {
  return layout.starts.reduce((sum, start) => sum + start, 0);
}

/**
 * Cuts a batch into parts of rows of like length, each padded to its own longest row, so that
 * padding and parts together cost the least. The parts' gradients add up to the batch's.
 *
 * @param lengths of the rows, tokens
 * @param cost of a part beyond its padded rows, tokens
 * @returns the rows' numbers, part by part, the longest rows first, while no other part's gradients
 *   take room; within a part in the order in which they were given
 */
export function likeLengthParts(lengths: readonly number[], cost: number): number[][] {
  const order = Array.from(lengths.keys()).sort((a, b) => lengths[a] - lengths[b] || a - b);
  // Parts begin where the length changes; `ends[i]` rows are no longer than `tops[i]`.
  const ends: number[] = [], tops: number[] = [];
  order.forEach((row, i) => {
    if (i + 1 < order.length && lengths[order[i + 1]] === lengths[row]) return;
    ends.push(i + 1);
    tops.push(lengths[row]);
  });
  // The least that the rows up to ends[i] cost, and the end before their last part.
  const least: number[] = [], before: number[] = [];
  for (let i = 0; i < ends.length; i++) {
    least.push(Infinity);
    before.push(-1);
    for (let j = -1; j < i; j++) {
      const rows = ends[i] - (j < 0 ? 0 : ends[j]);
      const total = (j < 0 ? 0 : least[j]) + rows * tops[i] + cost;
      if (total < least[i]) [least[i], before[i]] = [total, j];
    }
  }
  const parts: number[][] = [];
  for (let i = ends.length - 1; i >= 0; i = before[i]) {
    const from = before[i] < 0 ? 0 : ends[before[i]];
    parts.push(order.slice(from, ends[i]).sort((a, b) => a - b));
  }
  return parts;
}

/**
 * Sorts examples by length, the longest first, for micro-batches with little padding. The examples
 * of a row stay together, in their order.
 *
 * @param lengthOf tokens of an example
 */
export function longestFirst<X extends { readonly row: number | null }>(
  examples: readonly X[],
  lengthOf: (example: X) => number,
): X[] {
  const groups: { examples: X[]; length: number }[] = [];
  for (const example of examples) {
    const last = groups.at(-1);
    const length = lengthOf(example);
    if (last && example.row !== null && last.examples[0].row === example.row) {
      last.examples.push(example);
      last.length += length;
    } else groups.push({ examples: [example], length });
  }
  return groups.sort((a, b) => b.length - a.length).flatMap(({ examples }) => examples);
}
