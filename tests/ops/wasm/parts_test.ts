import { assert, assertEquals } from "@std/assert";
import { attentionParts } from "../../../src/ops/wasm/runtime/parts.ts";
import { pieces } from "../../../src/ops/wasm/runtime/pieces.ts";

Deno.test("pieces() covers a length once, and no piece is small unless the length is", () => {
  for (const length of [0, 1, 15, 16, 17, 31, 32, 33, 100, 2048]) {
    for (const [step, least] of [[32, 16], [8, 1], [1, 1]]) {
      const cuts = pieces(length, step, least);
      let end = 0;
      for (const [start, size] of cuts) {
        assertEquals(start, end);
        end += size;
        assert(size >= Math.min(least, length), `${size} of ${length}`);
      }
      assertEquals(end, length);
    }
  }
});

Deno.test("attentionParts() takes every head of every row once", () => {
  for (
    const [B, K, threads] of [[1, 1, 1], [1, 1, 8], [1, 12, 2], [3, 5, 2], [32, 2, 2], [33, 3, 4]]
  ) {
    const parts = attentionParts(B, K, threads);
    const seen = new Set<string>();
    for (const { row, rows, head, heads } of parts) {
      for (let r = row; r < row + rows; r++) {
        for (let h = head; h < head + heads; h++) seen.add(`${r} ${h}`);
      }
    }
    assertEquals(seen.size, B * K);
    assertEquals(parts.reduce((sum, { rows, heads }) => sum + rows * heads, 0), B * K);
    assert(parts.length < 64);
    if (threads === 1) assertEquals(parts.length, 1);
  }
});

Deno.test("attentionParts() of joined rows have about as many tokens each", () => {
  for (
    const lengths of [[9, 1, 1, 1, 1, 1, 1, 9], [1, 2, 3, 4], [100, 1, 1, 1, 1], [5, 5, 5, 5, 5]]
  ) {
    const offsets = Int32Array.from([0, ...lengths]);
    for (let b = 1; b < offsets.length; b++) offsets[b] += offsets[b - 1];
    const parts = attentionParts(lengths.length, 3, 2, offsets);
    let next = 0;
    for (const { row, rows, head, heads } of parts) {
      assertEquals([row, head, heads], [next, 0, 3]);
      assert(rows > 0);
      next += rows;
    }
    assertEquals(next, lengths.length);
    assert(parts.length <= 4);
    const tokens = parts.map(({ row, rows }) => offsets[row + rows] - offsets[row]);
    const fair = offsets[lengths.length] / 4;
    assert(Math.max(...tokens) < fair + Math.max(...lengths), `${tokens}`);
  }
});
