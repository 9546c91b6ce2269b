/**
 * A layout's integers as the attention kernels read them.
 * @module
 */
import type { AttentionLayout } from "../../attention/attention_layout.ts";

/**
 * For each run of `lanes` queries, the first key and one past the last that any of them sees, in the
 * prefix and in the branches: [B, ⌈Tq / lanes⌉, 4].
 */
export function keyRanges(layout: AttentionLayout, lanes: number): Int32Array {
  const { batch, queries } = layout;
  const blocks = Math.ceil(queries / lanes);
  const found = new Int32Array(batch * blocks * 4);
  for (let b = 0; b < batch; b++) {
    for (let i = 0; i < layout.queriesOf(b); i++) {
      const at = 4 * (b * blocks + Math.floor(i / lanes));
      layout.ranges(b, i).forEach(([start, end], range) => {
        if (end <= start) return;
        const first = at + 2 * range, last = first + 1;
        found[first] = found[last] === 0 ? start : Math.min(found[first], start);
        found[last] = Math.max(found[last], end);
      });
    }
  }
  return found;
}

/**
 * For each run of `lanes` keys, the first query and one past the last that may see one of them:
 * [B, ⌈Tk / lanes⌉, 2].
 */
export function queryRanges(layout: AttentionLayout, lanes: number): Int32Array {
  const { batch, keys } = layout;
  const blocks = Math.ceil(keys / lanes);
  const found = new Int32Array(batch * blocks * 2);
  for (let b = 0; b < batch; b++) {
    for (let i = 0; i < layout.queriesOf(b); i++) {
      for (const [start, end] of layout.ranges(b, i)) {
        if (end <= start) continue;
        const last = Math.floor((end - 1) / lanes);
        for (let block = Math.floor(start / lanes); block <= last; block++) {
          const at = 2 * (b * blocks + block);
          if (found[at + 1] === 0) found[at] = i;
          found[at + 1] = i + 1;
        }
      }
    }
  }
  return found;
}

/**
 * A layout's arrays in one: starts, prefix ends, branch starts, ends, offsets of joined rows, then the
 * ranges of keys and of queries for workgroups of `lanes`.
 */
export function layoutTable(layout: AttentionLayout, lanes: number): Int32Array {
  const { starts, prefixEnds, branchStarts, ends, rowOffsets } = layout;
  const arrays = [
    ...[starts, prefixEnds, branchStarts, ends],
    ...(rowOffsets === null ? [] : [rowOffsets]),
    keyRanges(layout, lanes),
    queryRanges(layout, lanes),
  ];
  const table = new Int32Array(arrays.reduce((size, array) => size + array.length, 0));
  let at = 0;
  for (const array of arrays) {
    table.set(array, at);
    at += array.length;
  }
  return table;
}
