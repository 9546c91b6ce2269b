/** Attention over a prefix with branches. */
import { AttentionLayout } from "../../src/ops/attention_layout.ts";

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
