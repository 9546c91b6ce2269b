import { assert, assertEquals } from "@std/assert";
import { RewardSandbox } from "../../src/rewards/mod.ts";
import { alive, HOSTILE } from "./hostile_range.ts";
import { batchOf, TempModules } from "./temp_modules.ts";

for (const name of ["hang_background", "hang_after_answer"]) {
  Deno.test({
    name: `a module that computes after its answer is killed between calls: ${name}`,
    ignore: Deno.build.os !== "linux",
    async fn() {
      const source = await Deno.readTextFile(new URL(`${name}.js.txt`, HOSTILE));
      await using modules = await TempModules.write({ "module.js": source });
      await using sandbox = await RewardSandbox.start([{ module: modules.path("module.js") }], {
        log: () => {},
      });
      const [pid] = await sandbox.pids();
      assertEquals((await sandbox.score(batchOf(["x"]))).total, [1]);
      for (let i = 0; i < 1000 && alive(pid); i++) {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      assert(!alive(pid));
      assertEquals((await sandbox.score(batchOf(["x"]))).total, [1]);
    },
  });
}
