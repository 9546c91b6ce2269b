/**
 * How fast ranks sum float32 values in place, by size. One line of JSON a size, on rank 0.
 *
 * mpirun -n 2 deno run -A bench/ranks/all_reduce.ts; `all_reduce.sh` runs a C program of the same calls
 * beside it.
 *
 * @module
 */
import { startRanks } from "../../src/distributed/start_ranks.ts";

/** Bytes. */
const SIZES = [4 * 1024, 4 * 2 ** 20, 64 * 2 ** 20, 512 * 2 ** 20];

if (import.meta.main) {
  const ranks = await startRanks();
  for (const bytes of SIZES) {
    const values = new Float32Array(bytes / 4).fill(1e-3);
    const times: number[] = [];
    for (let round = 0; round < (bytes > 2 ** 26 ? 5 : bytes > 2 ** 20 ? 15 : 200); round++) {
      await ranks.barrier("the start of a round");
      const started = performance.now();
      await ranks.sum(values, "the values");
      times.push(performance.now() - started);
    }
    times.sort((a, b) => a - b);
    const ms = times[Math.floor(times.length / 2)];
    if (ranks.rank === 0) {
      console.log(JSON.stringify({ program: "ours", bytes, ms, min: times[0] }));
    }
  }
  await ranks.close();
}
