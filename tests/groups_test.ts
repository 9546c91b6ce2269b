import { assert, assertEquals } from "@std/assert";
import { groupTests, LISTED, readTestSources } from "./groups.ts";

const gpuAdapter = { path: "tests/gpu_adapter.ts", source: "" };

function groupOfSource(source: string, path = "tests/new_test.ts"): string | undefined {
  const helper = {
    path: "tests/helper.ts",
    source: 'import { gpuTest } from "./gpu_adapter.ts";',
  };
  return groupTests([gpuAdapter, helper, { path, source }]).get(path);
}

Deno.test("a new test file is in the quick group if it starts nothing", () => {
  assertEquals(groupOfSource('import { add } from "../src/add.ts";'), "quick");
});

Deno.test("a test file is in the gpu group if it or its helper imports gpu_adapter.ts", () => {
  assertEquals(groupOfSource('import { gpuTest } from "./gpu_adapter.ts";'), "gpu");
  assertEquals(groupOfSource('import { helped } from "./helper.ts";'), "gpu");
  assertEquals(
    groupOfSource('import { helped } from "../../helper.ts";', "tests/train/loop/new_test.ts"),
    "gpu",
  );
});

Deno.test("a test file is in the slow group if it starts a process, or its folder is listed", () => {
  assertEquals(groupOfSource('new Deno.Command("deno")'), "slow");
  assertEquals(groupOfSource("", "tests/faults/new_test.ts"), "slow");
});

Deno.test("every entry of the list names a test file, or a folder with one", async () => {
  const paths = [...groupTests(await readTestSources()).keys()];
  const unused = LISTED.filter(([entry]) => !paths.some((path) => path.startsWith(entry)));
  assertEquals(unused, []);
});

Deno.test("no group is empty", async () => {
  const groups = new Set(groupTests(await readTestSources()).values());
  assert(groups.size === 3, [...groups].join());
});
