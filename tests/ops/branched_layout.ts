/** Attention over a prefix with branches. */
import { AttentionLayout } from "../../src/ops/attention/attention_layout.ts";

/** A row with padding, a prefix read causally, and branches of unequal lengths; and one without. */
export function branchedLayout(prefix: number, branches: readonly number[]): AttentionLayout {
  const starts = Int32Array.from([0, Math.min(2, prefix - 1)]);
  const T = prefix + branches.reduce((a, b) => a + b, 0);
  const branchStarts = new Int32Array(2 * T);
  const ends = new Int32Array(2 * T);
  for (let b = 0; b < 2; b++) {
    for (let i = 0; i < T; i++) {
      let start = prefix;
      for (const length of branches) if (i >= start + length) start += length;
      branchStarts[b * T + i] = i < prefix ? T : start;
      ends[b * T + i] = i + 1;
    }
  }
  const prefixEnds = new Int32Array(2).fill(prefix);
  return new AttentionLayout(2, T, T, starts, prefixEnds, branchStarts, ends);
}

/**
 * Joined rows of unequal lengths: with branches, with a single token, and one longer than a block of
 * queries.
 */
export function joinedLayout(): AttentionLayout {
  const row = (prefixLength: number, branches: readonly number[]) => {
    const branchStarts = new Array<number>(prefixLength).fill(0);
    for (const length of branches) {
      branchStarts.push(...new Array<number>(length).fill(branchStarts.length));
    }
    return { prefixLength, branchStarts };
  };
  return AttentionLayout.joined([
    row(5, [3, 1, 7]),
    row(0, [1]),
    row(0, [67]),
    row(60, [9, 40]),
    row(1, [1, 1]),
    row(0, [130]),
  ]);
}
