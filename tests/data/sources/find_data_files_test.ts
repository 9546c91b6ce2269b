import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { findDataFiles } from "../../../src/data/sources/find_data_files.ts";
import { HubError } from "../../../src/hub/hub_error.ts";

Deno.test("findDataFiles() says that a mistyped path is no path, before what the Hub says", async () => {
  const error = await assertRejects(
    () =>
      findDataFiles("my_dta", [], () => {
        throw new HubError("unreachable", "Cannot reach the Hub: dns error");
      }),
    HubError,
  );
  assertEquals(error.kind, "unreachable");
  assertStringIncludes(
    error.message,
    "Cannot load the data my_dta: there is no such file or folder",
  );
  assertStringIncludes(error.message, "dns error");
});

Deno.test("findDataFiles() never asks the Hub about a folder that is there", async () => {
  const folder = await Deno.makeTempDir({ dir: ".", prefix: "rows_" });
  try {
    await Deno.writeTextFile(`${folder}/train.jsonl`, '{"question":"?","answer":"!"}\n');
    const files = await findDataFiles(folder.split("/").at(-1)!, [], () => {
      throw new Error("asked the Hub");
    });
    assertEquals([...files.splits.keys()], ["train"]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
