import { assertEquals } from "@std/assert";
import { dynamicSize } from "../../src/image/dynamic_size.ts";

Deno.test("dynamicSize() rounds both sides up to tiles, the longer one to the maximum at most", () => {
  assertEquals(dynamicSize(64, 48, 32, 96, false), { width: 64, height: 64 });
  assertEquals(dynamicSize(200, 37, 32, 96, false), { width: 96, height: 32 });
  assertEquals(dynamicSize(3, 5, 32, 96, false), { width: 32, height: 32 });
  assertEquals(dynamicSize(3, 5, 32, 96, true), { width: 64, height: 96 });
});

Deno.test("dynamicSize() keeps the reference's rounding, which can exceed the maximum", () => {
  assertEquals(dynamicSize(187, 187, 32, 96, false), { width: 96, height: 128 });
});
