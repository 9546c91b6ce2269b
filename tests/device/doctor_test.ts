import { assert, assertEquals } from "@std/assert";
import { doctorReport, hasWasmRelaxedSimd, hasWasmSimd } from "../../src/device/doctor.ts";

Deno.test({
  name: "doctorReport() names what the machine has, and gives advice if something is missing",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const lines = await doctorReport();
    const topics = lines.map((line) => line.topic);
    for (const topic of ["deno", "tfjs", "cpu", "adapter", "wasm SIMD", "BLAS", "permissions"]) {
      assertEquals(topics.filter((name) => name === topic).length, 1, topic);
    }
    // Nothing of ours uses these, so that nothing is lost where they are not there.
    for (const topic of ["subgroups", "timestamp-query"]) assert(!topics.includes(topic), topic);
    for (const line of lines) {
      assert(line.value.length > 0, line.topic);
      assertEquals(line.advice === undefined, line.good, line.topic);
    }
  },
});

Deno.test("the probes for wasm features are modules that Deno's engine takes", () => {
  assert(hasWasmSimd());
  assert(hasWasmRelaxedSimd());
});
