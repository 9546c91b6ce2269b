import { assertEquals, assertThrows } from "@std/assert";
import { writeFileAtomically } from "../../src/report/atomic_file.ts";
import { RunFileError } from "../../src/report/run_file_error.ts";
import { onSmallDisk, whyNoDisk } from "./small_disk.ts";
import { inTemporaryFolder } from "./temporary_folder.ts";

Deno.test("writeFileAtomically() replaces a file and leaves nothing beside it", async () => {
  await inTemporaryFolder((dir) => {
    writeFileAtomically(`${dir}/a`, "one");
    writeFileAtomically(`${dir}/a`, new Uint8Array([0x74, 0x77, 0x6f]));
    assertEquals(Deno.readTextFileSync(`${dir}/a`), "two");
    assertEquals([...Deno.readDirSync(dir)].map((entry) => entry.name), ["a"]);
  });
});

Deno.test({
  name: `writeFileAtomically() keeps the old file whole when the disk is full${
    whyNoDisk === null ? "" : ` (skipped: ${whyNoDisk})`
  }`,
  ignore: whyNoDisk !== null,
  fn: async () => {
    await onSmallDisk((dir) => {
      writeFileAtomically(`${dir}/a`, "old");
      const tooMuch = new Uint8Array(100_000);
      assertThrows(() => writeFileAtomically(`${dir}/a`, tooMuch), RunFileError, "disk is full");
      assertEquals(Deno.readTextFileSync(`${dir}/a`), "old");
      assertEquals([...Deno.readDirSync(dir)].map((entry) => entry.name), ["a"]);
    });
  },
});
