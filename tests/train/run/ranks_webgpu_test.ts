import { noMpirun, withMpirun } from "../../distributed/mpirun.ts";
import { gpuTest } from "../../gpu_adapter.ts";
import { compareRanks, comparisonOf } from "./compare_ranks.ts";

const NAME = "on WebGPU, losses are those of one process, and ranks hold the same bits";

async function compare(): Promise<void> {
  const names = ["sft", "dpo sigmoid", "grpo dapo"];
  await compareRanks(comparisonOf("webgpu", { steps: 3, sizes: [2], names }));
}

if (noMpirun === null) gpuTest(NAME, compare);
else Deno.test(withMpirun(NAME, compare));
