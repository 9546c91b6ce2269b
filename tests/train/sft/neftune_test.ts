import { assert, assertEquals } from "@std/assert";
import { largestDifference } from "../largest_difference.ts";
import { tinySFT } from "./tiny_sft.ts";

const NOISE = "training.neftune_noise_alpha=5";

Deno.test("NEFTune's noise changes training, not evaluation, and 0 is none", async () => {
  const evaluated = ["training.eval_strategy=steps"];
  await using plain = await tinySFT(evaluated);
  await using noisy = await tinySFT([...evaluated, NOISE]);
  await using none = await tinySFT([...evaluated, "training.neftune_noise_alpha=0"]);
  const lossOf = async (run: typeof plain) => (await run.method.evaluate())!.metrics.eval_loss;
  assertEquals(await lossOf(noisy), await lossOf(plain));
  const expected = await plain.gradients(), found = await noisy.gradients();
  assert(found.loss !== expected.loss);
  assert(largestDifference(found.gradients, expected.gradients) > 1e-3);
  const same = await none.gradients();
  assertEquals([same.loss, same.gradients], [expected.loss, expected.gradients]);
});

Deno.test("NEFTune's noise is another one in each step, and the same with the same seed", async () => {
  const settings = [NOISE, "training.learning_rate=0.0001"];
  await using one = await tinySFT(settings);
  await using same = await tinySFT(settings);
  await using other = await tinySFT([...settings, "training.seed=43"]);
  const first = await one.gradients();
  assertEquals((await same.gradients()).loss, first.loss);
  assert((await other.gradients()).loss !== first.loss);
});

Deno.test("NEFTune's noise does not depend on gradient checkpointing", async () => {
  await using plain = await tinySFT([NOISE]);
  await using recomputed = await tinySFT([NOISE, "training.gradient_checkpointing=true"]);
  const expected = await plain.gradients(), found = await recomputed.gradients();
  assertEquals(found.loss, expected.loss);
  assert(largestDifference(found.gradients, expected.gradients) < 1e-5);
});
