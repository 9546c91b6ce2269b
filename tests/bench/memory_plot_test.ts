import { assertEquals } from "@std/assert";
import type { MemoryRow } from "../../src/bench/memory_bench.ts";
import { memoryPlot } from "../../src/bench/memory_plot.ts";

const row = (over: MemoryRow["over"], tokens: number, vocabulary: number, mib: number) => ({
  ...{ over, tokens, vocabulary, activations_mib: mib },
  ...{ weights_mib: 1, gradients_mib: 1, step_mib: mib + 1, process_mib: null },
});

Deno.test("bars are proportional to their numbers, and never empty", () => {
  const lines = memoryPlot([
    row("tokens", 1536, 600, 50),
    row("tokens", 3072, 600, 100),
    row("vocabulary", 1536, 49218, 0.1),
  ]).split("\n");
  assertEquals(lines[1], "over tokens");
  assertEquals(lines[2], `   1,536 ${"█".repeat(24)} 50.0`);
  assertEquals(lines[3], `   3,072 ${"█".repeat(48)} 100.0`);
  assertEquals(lines[4], "over vocabulary");
  assertEquals(lines[5], "  49,218 █ 0.1");
});
