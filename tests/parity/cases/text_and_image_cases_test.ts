import { assert, assertEquals } from "@std/assert";
import { replayImageCases } from "../../../src/parity/cases/image_cases.ts";
import { replayTextCases } from "../../../src/parity/cases/text_cases.ts";

const fixtures = new URL("../../../../shared/fixtures", import.meta.url).pathname;

async function isThere(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch {
    return false;
  }
}

const missing = !await isThere(`${fixtures}/preprocess`);
if (missing) console.log(`parity of texts and pictures is skipped: no fixtures in ${fixtures}`);

Deno.test({
  name: "every recorded text replays exactly",
  ignore: missing,
  fn: async () => {
    const results = await replayTextCases(fixtures);
    assertEquals(results.filter((result) => !result.ok), []);
    assert(results.length > 500, `only ${results.length} results`);
  },
});

Deno.test({
  name: "every recorded picture replays inside its tolerance",
  ignore: missing,
  fn: async () => {
    const results = await replayImageCases(fixtures);
    assertEquals(results.filter((result) => !result.ok), []);
    assert(results.length > 100, `only ${results.length} results`);
  },
});
