/**
 * A step of SmolVLM-256M beside one of the 230m nanoVLM, of the same tokens and tiles: LoRA and full
 * training, time and the most memory that the process takes. The models take turns, each in a process
 * of its own.
 *
 *     deno run -A bench/smolvlm_step.ts [--rounds 3] [--reps 2] [--clock cpu|wall]
 *       > docs/runs/smolvlm_256m_step.log
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { compare } from "../src/bench/against.ts";
import { loadAverage } from "../src/bench/device_facts.ts";
import type { BenchReport } from "../src/bench/run_bench.ts";
import { formatTable } from "../src/report/terminal/console_table.ts";

const args = parseArgs(Deno.args, {
  string: ["rounds", "reps", "clock"],
  default: { rounds: "3", reps: "2", clock: "cpu" },
});
const rounds = Number(args.rounds), reps = String(args.reps), clock = String(args.clock);

async function measure(model: string): Promise<BenchReport> {
  const options = ["--model", model, "--lora", "--reps", reps, "--clock", clock];
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "mod.ts", "bench", "step", ...options, "--backend", "wasm", "--json"],
    stdin: "null",
  }).output();
  if (!success) throw new Error(`Cannot measure ${model}: ${new TextDecoder().decode(stderr)}`);
  return JSON.parse(new TextDecoder().decode(stdout));
}

const measured = [];
for (let round = 0; round < rounds; round++) {
  const theirs = await measure("230m"), ours = await measure("256m");
  measured.push({ ours: ours.step!.ours, theirs: theirs.step!.ours });
  if (round > 0) continue;
  const { device, load } = ours;
  console.log(`${device.backend}: ${device.reason}; ${device.cpu}, ${device.threads} threads`);
  console.log(`load ${load.before}; ${rounds} rounds, ${reps} samples each, ${clock}\n`);
}
const columns = [
  { header: "number" },
  ...["256m", "230m", "ratio", "smallest", "largest"].map((header) => ({
    header,
    align: "right" as const,
  })),
];
const rows = compare(measured).map((found) => [
  found.name,
  found.ours.toPrecision(4),
  found.theirs.toPrecision(4),
  ...[found.ratio, found.smallest, found.largest].map((ratio) => ratio.toFixed(3)),
]);
console.log(formatTable(columns, rows));
console.log(`load at the end ${loadAverage()}`);
