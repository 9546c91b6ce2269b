import { assert, assertEquals } from "@std/assert";
import { replayAdvantageCases } from "../../../src/parity/cases/advantage_cases.ts";
import { replayDpoCases } from "../../../src/parity/cases/dpo_cases.ts";
import { replayGrpoCases } from "../../../src/parity/cases/grpo_cases.ts";
import { fixtureTest } from "../shared_fixtures.ts";

for (
  const [name, replay] of [
    ["dpo.json", replayDpoCases],
    ["grpo.json", replayGrpoCases],
    ["advantages.json", replayAdvantageCases],
  ] as const
) {
  fixtureTest(`every case of losses/${name} is within its tolerance`, async (directory) => {
    const results = await replay(directory);
    assert(results.length > 50);
    assertEquals(results.filter((result) => !result.ok), []);
  });
}
