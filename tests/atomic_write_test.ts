import { assertEquals, assertRejects } from "@std/assert";
import { SaveError, writeTextAtomically } from "../src/atomic_write.ts";
import { onSmallDisk, whyNoDisk } from "./report/files/small_disk.ts";
import { inTemporaryFolder } from "./report/temporary_folder.ts";

Deno.test("writeTextAtomically() replaces a file and leaves nothing beside it", async () => {
  await inTemporaryFolder(async (dir) => {
    await writeTextAtomically(`${dir}/a`, "one");
    await writeTextAtomically(`${dir}/a`, "two");
    assertEquals(Deno.readTextFileSync(`${dir}/a`), "two");
    assertEquals([...Deno.readDirSync(dir)].map((entry) => entry.name), ["a"]);
  });
});

Deno.test({
  name: `writeTextAtomically() keeps the old file whole when the disk is full${
    whyNoDisk === null ? "" : ` (skipped: ${whyNoDisk})`
  }`,
  ignore: whyNoDisk !== null,
  fn: async () => {
    await onSmallDisk(async (dir) => {
      await writeTextAtomically(`${dir}/a`, "old");
      const tooMuch = "x".repeat(100_000);
      await assertRejects(
        () => writeTextAtomically(`${dir}/a`, tooMuch),
        SaveError,
        `${dir}/a: no space is left`,
      );
      assertEquals(Deno.readTextFileSync(`${dir}/a`), "old");
      assertEquals([...Deno.readDirSync(dir)].map((entry) => entry.name), ["a"]);
    });
  },
});
