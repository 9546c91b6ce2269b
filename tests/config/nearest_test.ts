import { assertEquals } from "@std/assert";
import { editDistance, nearestName } from "../../src/config/nearest.ts";

Deno.test("editDistance() counts inserts, deletes, replacements and swaps of neighbours", () => {
  assertEquals(editDistance("", "abc"), 3);
  assertEquals(editDistance("kitten", "sitting"), 3);
  assertEquals(editDistance("steps", "stesp"), 1);
  assertEquals(editDistance("same", "same"), 0);
});

Deno.test("nearestName() finds the key that was meant", () => {
  const known = ["max_steps", "max_grad_norm", "learning_rate", "lr_mp"];
  assertEquals(nearestName("max_stesp", known), "max_steps");
  assertEquals(nearestName("learningRate", known), "learning_rate");
  assertEquals(nearestName("learning-rate", known), "learning_rate");
});

Deno.test("nearestName() names nothing if nothing is near", () => {
  assertEquals(nearestName("wandb", ["max_steps", "learning_rate"]), undefined);
  assertEquals(nearestName("x", []), undefined);
  assertEquals(nearestName("a".repeat(5000), ["max_steps"]), undefined);
});
