import { assertEquals } from "@std/assert";
import { initBackend } from "../../../src/device/backend.ts";
import { OPTIMIZER_NAMES } from "../../../src/config/schema/optimizer/optimizer_names.ts";
import { dynamicMap } from "../../../src/ops/updates/dynamic_map.ts";
import { RECORDED_MAPS, replay, REPLAYS } from "./recorded_optimizers.ts";

for (const backend of ["wasm", "cpu"] as const) {
  for (const [name, options, replayed] of REPLAYS) {
    Deno.test(`${name}: every recorded step on ${backend}, resumed and scaled as in fp16 too`, async () => {
      await initBackend({ backend });
      await replay(name, options, replayed);
      await replay(name, options, { ...replayed, resume: true });
      await replay(name, options, { ...replayed, lossScale: 1024 });
    });
  }
}

Deno.test("every optimizer of the config has a record", () => {
  const replayed = new Set(REPLAYS.map(([, { name = "adamw_torch" }]) => name));
  assertEquals([...replayed].sort(), [...OPTIMIZER_NAMES].sort());
});

Deno.test("dynamicMap() gives bitsandbytes' numbers to the bit", () => {
  assertEquals(dynamicMap(true), RECORDED_MAPS.signed);
  assertEquals(dynamicMap(false), RECORDED_MAPS.unsigned);
});
