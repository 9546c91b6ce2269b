import { assert, assertEquals } from "@std/assert";
import { replayScheduleCases } from "../../../src/parity/cases/schedule_cases.ts";
import { fixtureTest } from "../shared_fixtures.ts";

fixtureTest("every recorded schedule is within its tolerance", async (directory) => {
  const results = await replayScheduleCases(directory);
  assert(results.length > 0);
  assertEquals(results.filter((result) => !result.ok), []);
});
