import { assert, assertEquals } from "@std/assert";
import { initBackend } from "../../src/device/backend.ts";
import { assertNoGpuErrors, clearGpuErrors } from "../../src/device/gpu_errors.ts";
import { replayFixtures } from "../../src/parity/replay.ts";
import { gpuTest } from "../gpu_adapter.ts";
import { fixturesDirectory } from "../parity/shared_fixtures.ts";

if (fixturesDirectory === null) {
  console.error("parity on webgpu is skipped: no folder shared/fixtures beside the checkout");
} else {
  const directory = fixturesDirectory;
  gpuTest("every case of the fixtures is within its tolerance on webgpu", async () => {
    clearGpuErrors();
    const backend = await initBackend({ backend: "webgpu" });
    const results = [];
    for await (const group of replayFixtures(directory)) results.push(...group);
    assertEquals(results.filter(({ ok }) => !ok), []);
    assert(results.length > 1000);
    assertNoGpuErrors();
    backend.dispose();
  });
}
