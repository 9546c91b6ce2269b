import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import {
  BUILTIN_FOLDER,
  BUILTIN_REWARDS,
  builtinUrl,
} from "../../../src/rewards/graph/builtin_module.ts";
import { RewardSandbox } from "../../../src/rewards/mod.ts";
import { batchOf } from "../temp_modules.ts";

Deno.test("every file of reward_functions/ is built in, and the page names each", async () => {
  const files = [...Deno.readDirSync(BUILTIN_FOLDER)].map(({ name }) => name)
    .filter((name) => name.endsWith(".ts") && name !== "template.ts");
  assertEquals(files.map((name) => name.replace(".ts", "")).sort(), [...BUILTIN_REWARDS].sort());
  const page = await Deno.readTextFile(new URL("README.md", BUILTIN_FOLDER));
  for (const name of BUILTIN_REWARDS) assertMatch(page, new RegExp(`^\\| \`${name}\` +\\|`, "m"));
});

Deno.test("a built-in name cannot leave its folder", () => {
  for (const name of ["../mod", "shared/completion_text", "format.ts", "", "format/../accuracy"]) {
    assertThrows(() => builtinUrl(`builtin:${name}`), TypeError, "no such built-in reward");
  }
  assert(builtinUrl("builtin:format?x=1").href.endsWith("/reward_functions/format.ts?x=1"));
});

Deno.test("the template is a reward that works", async () => {
  const module = new URL("template.ts", BUILTIN_FOLDER).href;
  await using sandbox = await RewardSandbox.start([{ module }]);
  const { total } = await sandbox.score(batchOf(["a b", "c", "d"], { answer: ["b", "b", null] }));
  assertEquals(total, [1, 0, null]);
});
