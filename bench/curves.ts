/**
 * `train sft` with its embedded default, the same seed, on each path: webgpu, wasm with our own
 * products, wasm with the BLAS. Prints the losses of every step side by side and the largest
 * difference; fails if that is more than 1e-3.
 *
 * deno run -A bench/curves.ts [--steps 50] > docs/runs/curves.log
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";

/** Where to compute, as the command line has it. */
export interface CurvePath {
  readonly name: string;
  readonly backend: "webgpu" | "wasm";
  readonly environment: Readonly<Record<string, string>>;
}

/** The paths that have to agree. */
export const CURVE_PATHS: readonly CurvePath[] = [
  { name: "wasm", backend: "wasm", environment: { NANOVLM_BLAS: "0" } },
  { name: "BLAS", backend: "wasm", environment: {} },
  { name: "webgpu", backend: "webgpu", environment: {} },
];

/** Losses of each step, and what the run said of its backend. */
export interface Curve {
  readonly losses: readonly number[];
  readonly gradNorms: readonly number[];
  readonly backend: string;
}

const MAIN = new URL("../mod.ts", import.meta.url);

/** The arguments of a run. */
function runArguments({ backend }: CurvePath, settings: readonly string[]): string[] {
  const all = [
    "training.logging_steps=1",
    "training.eval_strategy=no",
    "training.save_strategy=no",
  ];
  const set = [...all, ...settings].flatMap((setting) => ["--set", setting]);
  return ["train", "sft", "--backend", backend, ...set];
}

/**
 * Trains in a process of its own.
 *
 * @param settings of the config, `key.path=value`
 * @throws {Error} if the run fails
 */
export async function trainCurve(path: CurvePath, settings: readonly string[]): Promise<Curve> {
  const folder = await Deno.makeTempDir({ prefix: "curve " });
  try {
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", MAIN.href, ...runArguments(path, settings), "--output-dir", folder],
      env: { ...path.environment, NO_COLOR: "1" },
      stdout: "null",
      stderr: "piped",
    }).output();
    const said = new TextDecoder().decode(stderr);
    if (!success) throw new Error(`Cannot train on ${path.name}: ${said.slice(-2000)}`);
    const lines = (await Deno.readTextFile(`${folder}/metrics.jsonl`)).trim().split("\n");
    const records = lines.map((line) => JSON.parse(line) as { loss: number; grad_norm: number });
    return {
      losses: records.map(({ loss }) => loss),
      gradNorms: records.map(({ grad_norm }) => grad_norm),
      backend: /^backend (.*)$/m.exec(said)?.[1] ?? "",
    };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** The largest difference of two curves at one step. */
export function largestDifference(a: readonly number[], b: readonly number[]): number {
  if (a.length !== b.length) return Infinity;
  return Math.max(...a.map((value, i) => Math.abs(value - b[i])));
}

const MOST = 1e-3;

if (import.meta.main) {
  const { steps } = parseArgs(Deno.args, { string: ["steps"], default: { steps: "50" } });
  const settings = [`training.max_steps=${steps}`];
  console.log("$ deno run -A bench/curves.ts");
  console.log("# what it runs, and the losses in metrics.jsonl:");
  const curves: Curve[] = [];
  for (const path of CURVE_PATHS) {
    const variables = Object.entries(path.environment).map(([name, value]) => `${name}=${value} `);
    console.log(`#   ${variables.join("")}deno task ${runArguments(path, settings).join(" ")}`);
    const curve = await trainCurve(path, settings);
    console.log(`#     backend ${curve.backend}`);
    curves.push(curve);
  }
  const cells = (row: readonly string[]) =>
    console.log(row.map((cell, i) => cell.padStart(i === 0 ? 4 : 14)).join(""));
  cells(["step", ...CURVE_PATHS.map(({ name }) => name), "apart by"]);
  curves[0].losses.forEach((_, i) => {
    const losses = curves.map(({ losses }) => losses[i]);
    const apart = Math.max(...losses) - Math.min(...losses);
    cells([`${i + 1}`, ...losses.map((loss) => loss.toFixed(7)), apart.toExponential(1)]);
  });
  let most = 0;
  for (const [a, b] of [[0, 1], [0, 2], [1, 2]]) {
    const largest = largestDifference(curves[a].losses, curves[b].losses);
    most = Math.max(most, largest);
    const names = `${CURVE_PATHS[a].name} and ${CURVE_PATHS[b].name}`;
    console.log(`${names}: losses of a step differ by at most ${largest.toExponential(1)}`);
  }
  if (!(most <= MOST)) throw new Error(`The curves part: ${most} is more than ${MOST}.`);
}
