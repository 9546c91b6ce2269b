/**
 * The groups of tests, and what decides which group a test file is in. A new file needs no entry:
 *
 * - `gpu`: the file, or a helper in `tests/` that it imports, imports `gpu_adapter.ts`;
 * - {@link LISTED} names the group of the file, or of the folder in which it stands;
 * - `slow`: it, or such a helper, starts a process, a server or a browser;
 * - `quick`: every other file. They run without permission for child processes and the network and
 *   without an adapter, so a file that turns out to need one fails there and says so.
 *
 * @module
 */

/** A group of test files. */
export type TestGroup = "quick" | "gpu" | "slow";

/** In the order in which `deno task test` runs them. */
export const TEST_GROUPS: readonly TestGroup[] = ["quick", "gpu", "slow"];

/** Files, and folders with a slash at the end, whose text does not show their group. */
export const LISTED: readonly (readonly [path: string, group: TestGroup])[] = [
  // It asks for an adapter through the program that it tests.
  ["tests/device/doctor_test.ts", "gpu"],
  // Rewards and preprocessing modules run in the sandbox's processes.
  ["tests/data/preprocessing/", "slow"],
  ["tests/reward_functions/", "slow"],
  ["tests/rewards/", "slow"],
  // They run commands.
  ["tests/bench/serve_load_test.ts", "slow"],
  ["tests/faults/", "slow"],
  // They train, evaluate or replay whole models, or sweep over many sizes: seconds each.
  ["tests/bench/check/check_test.ts", "slow"],
  ["tests/data/streaming_dataset_test.ts", "slow"],
  ["tests/evaluate/evaluate_test.ts", "slow"],
  ["tests/evaluate/held_out_metrics_test.ts", "slow"],
  ["tests/library/", "slow"],
  ["tests/ops/wasm/mat_mul_test.ts", "slow"],
  ["tests/parity/", "slow"],
  ["tests/train/batches/data_ahead_test.ts", "slow"],
  ["tests/train/batches/skipped_rows_test.ts", "slow"],
  ["tests/train/checkpoint/", "slow"],
  ["tests/train/dpo/", "slow"],
  ["tests/train/gkd/", "slow"],
  ["tests/train/grpo/", "slow"],
  ["tests/train/kto/", "slow"],
  ["tests/train/loop/", "slow"],
  ["tests/train/run/", "slow"],
  ["tests/train/sft/", "slow"],
];

/** What starts a process, a server or a browser. */
const STARTS_SOMETHING = /Deno\.Command|Deno\.serve|Deno\.listen|playwright|createServer/;

/** A test file of this folder, or a module that helps one. */
export interface TestSource {
  /** Relative to the root of the project: `tests/ops/add_test.ts`. */
  readonly path: string;
  readonly source: string;
}

const root = new URL("../", import.meta.url);

/** Reads all modules below `tests/`, in the order of their paths. */
export async function readTestSources(): Promise<TestSource[]> {
  const found: TestSource[] = [];
  const visit = async (folder: string): Promise<void> => {
    for await (const { name, isDirectory } of Deno.readDir(new URL(folder, root))) {
      if (isDirectory) await visit(`${folder}${name}/`);
      else if (name.endsWith(".ts")) {
        const path = `${folder}${name}`;
        found.push({ path, source: await Deno.readTextFile(new URL(path, root)) });
      }
    }
  };
  await visit("tests/");
  return found.sort((a, b) => a.path < b.path ? -1 : 1);
}

/** The modules below `tests/` that a module imports. */
function importsOf({ path, source }: TestSource): string[] {
  const found: string[] = [];
  for (const [, specifier] of source.matchAll(/(?:from|import)\s*\(?\s*["'](\.[^"']+)["']/g)) {
    const target = new URL(specifier, new URL(path, root)).href.slice(root.href.length);
    if (target.startsWith("tests/")) found.push(target);
  }
  return found;
}

/** The group of each test file, by its path. */
export function groupTests(sources: readonly TestSource[]): Map<string, TestGroup> {
  const byPath = new Map(sources.map((file) => [file.path, file]));
  const closure = (path: string, seen: Set<string>): Set<string> => {
    const file = byPath.get(path);
    if (seen.has(path) || file === undefined) return seen;
    seen.add(path);
    for (const next of importsOf(file)) closure(next, seen);
    return seen;
  };
  const groupOf = (path: string): TestGroup => {
    const files = [...closure(path, new Set())];
    if (files.includes("tests/gpu_adapter.ts")) return "gpu";
    const listed = LISTED.find(([entry]) =>
      entry.endsWith("/") ? path.startsWith(entry) : path === entry
    );
    if (listed !== undefined) return listed[1];
    return files.some((name) => STARTS_SOMETHING.test(byPath.get(name)!.source)) ? "slow" : "quick";
  };
  return new Map(
    sources.filter(({ path }) => path.endsWith("_test.ts")).map(({ path }) => [
      path,
      groupOf(path),
    ]),
  );
}
