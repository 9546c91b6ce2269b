import { assert, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { replayBackboneCases } from "../../../src/parity/cases/backbone_cases.ts";
import { replayWeightsCases } from "../../../src/parity/cases/weights_cases.ts";
import { fixtureTest } from "../shared_fixtures.ts";

fixtureTest(
  "names, shapes, wrapped layers and merged weights are within tolerance",
  async (directory) => {
    const results = await replayWeightsCases(directory);
    assert(results.length >= 15);
    assertEquals(results.filter((result) => !result.ok), []);
  },
);

fixtureTest("converted backbones compute what Transformers computes", async (directory) => {
  await tf.setBackend("cpu");
  const before = tf.memory().numTensors;
  const results = await replayBackboneCases(directory);
  assert(results.length >= 6);
  assertEquals(results.filter((result) => !result.ok), []);
  assertEquals(tf.memory().numTensors, before);
});
