import { assert, assertEquals } from "@std/assert";
import { runJob } from "../../distributed/mpirun.ts";
import type { EqualResult } from "./equal_runs.ts";

/** What is compared. */
export interface RankComparison {
  readonly backend: "wasm" | "webgpu";
  readonly steps: number;
  /** Numbers of ranks beside one. */
  readonly sizes: readonly number[];
  /** Names of cases; none: all. */
  readonly names: readonly string[];
}

async function results(
  size: number,
  { backend, steps, names }: RankComparison,
): Promise<EqualResult[]> {
  const program = ["tests/train/run/equal_runs.ts", backend, String(steps), ...names];
  const { code, stdout, stderr } = await runJob(size, program);
  assertEquals(code, 0, stderr);
  return stdout.trim().split("\n").map((line) => JSON.parse(line));
}

/**
 * The largest difference of two runs' losses. Losses near 0 are differences of log-probabilities,
 * whose size is 1 and more.
 */
function lossDifference(one: EqualResult, many: EqualResult): number {
  return Math.max(
    ...one.losses.map((loss, i) => Math.abs(many.losses[i] - loss) / Math.max(1, Math.abs(loss))),
  );
}

/**
 * Trains in one process and on several ranks, and checks that each step has the same loss to 1e-6 and
 * leaves the same bits on all ranks. Prints a line for each case.
 */
export async function compareRanks(comparison: RankComparison): Promise<void> {
  const { backend, steps, sizes } = comparison;
  const alone = await results(1, comparison);
  const far: string[] = [];
  for (const size of sizes) {
    const many = await results(size, comparison);
    assertEquals(many.map(({ name }) => name), alone.map(({ name }) => name));
    alone.forEach((one, i) => {
      const { name, losses, sameBits, ranks } = many[i];
      assertEquals(ranks, size);
      assertEquals(losses.length, steps, name);
      assertEquals(sameBits, steps, `${name}: ranks have other bits`);
      assert(losses.some((loss) => loss !== losses[0]), `${name}: the loss does not change`);
      const difference = lossDifference(one, many[i]);
      console.log(
        `${backend}, ${size} ranks, ${name}: ${steps} steps, losses ${losses[0].toFixed(4)} to ` +
          `${losses.at(-1)!.toFixed(4)}, largest difference ${difference.toExponential(1)}, ` +
          `the same bits on all ranks after ${sameBits} steps`,
      );
      if (!(difference <= 1e-6)) far.push(`${name} on ${size} ranks: ${difference}`);
    });
  }
  assertEquals(far, []);
}

const given = Number(Deno.env.get("NANOVLM_RANK_STEPS") ?? 0);

/**
 * What the tests compare: with NANOVLM_RANK_STEPS every loss on 2 and 4 ranks for so many steps,
 * otherwise a few steps of some.
 */
export function comparisonOf(
  backend: RankComparison["backend"],
  short: Omit<RankComparison, "backend">,
): RankComparison {
  return given > 0 ? { backend, steps: given, sizes: [2, 4], names: [] } : { backend, ...short };
}
