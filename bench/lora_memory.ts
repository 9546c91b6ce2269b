/**
 * Memory of a step that trains LoRA adapters on the 230m model, alone in a process: what `bench step`
 * measures before its full step.
 *
 * ```sh
 * deno run -A bench/lora_memory.ts BF16|Q8 [checkpointing]
 * ```
 *
 * @module
 */
import { benchDims } from "../src/bench/bench_work.ts";
import { clockNamed } from "../src/bench/clock.ts";
import { benchLoraStep } from "../src/bench/step_bench.ts";
import { initBackend } from "../src/device/backend.ts";

const [base, extra] = Deno.args;
if ((base !== "BF16" && base !== "Q8") || (extra !== undefined && extra !== "checkpointing")) {
  console.error("usage: deno run -A bench/lora_memory.ts BF16|Q8 [checkpointing]");
  Deno.exit(2);
}
const { reason } = await initBackend({ backend: "wasm" });
const checkpointing = extra === "checkpointing";
const timing = { reps: 2, clock: clockNamed("cpu") };
const found = await benchLoraStep(benchDims("230m"), timing, { base, checkpointing });
console.log(`backend ${reason}`);
console.log(`weights in ${base}${checkpointing ? ", gradient checkpointing" : ""}`);
console.log(`peak memory ${found.lora_peak_mib.toFixed(0)} MiB`);
