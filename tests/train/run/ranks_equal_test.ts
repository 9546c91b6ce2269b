import { withMpirun } from "../../distributed/mpirun.ts";
import { compareRanks, comparisonOf } from "./compare_ranks.ts";

Deno.test(
  withMpirun("every loss is that of one process, and ranks hold the same bits", async () => {
    await compareRanks(comparisonOf("wasm", { steps: 4, sizes: [3], names: [] }));
  }),
);
