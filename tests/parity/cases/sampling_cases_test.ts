import { assert, assertEquals } from "@std/assert";
import { replaySamplingCases } from "../../../src/parity/cases/sampling_cases.ts";
import { fixtureTest } from "../shared_fixtures.ts";

fixtureTest("every case of sampling.json is within its tolerance", async (directory) => {
  const results = await replaySamplingCases(directory);
  assert(results.length > 100);
  assertEquals(results.filter((result) => !result.ok), []);
});
