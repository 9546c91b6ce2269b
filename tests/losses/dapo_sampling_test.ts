import { assertEquals, assertThrows } from "@std/assert";
import { groupsWithSpread, overlongPunishment } from "../../src/losses/dapo_sampling.ts";

Deno.test("groupsWithSpread() leaves out groups whose scored rewards are all the same", () => {
  const rewards = [1, 1, 0, 1, NaN, 1, NaN, NaN, 0.1, 0.2];
  assertEquals(groupsWithSpread(rewards, 2), [1, 4]);
});

Deno.test("overlongPunishment() falls in a line over the buffer and stays at its lowest", () => {
  assertEquals([60, 70, 75, 80, 200].map((n) => overlongPunishment(n, 80, 20, 2)), [
    0,
    -1,
    -1.5,
    -2,
    -2,
  ]);
  assertThrows(() => overlongPunishment(1, 10, 11), RangeError, "want 1 to");
});
