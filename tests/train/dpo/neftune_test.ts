import { assert, assertEquals } from "@std/assert";
import type { ResolvedConfig } from "../../../src/config/types/config_types.ts";
import { tinyConfig as tinyKTOConfig, tinyKTO } from "../kto/tiny_kto.ts";
import { largestDifference } from "../largest_difference.ts";
import { tinyConfig, tinyRun } from "./tiny_dpo.ts";

/** Loss and gradients of the first step. */
interface Steps extends Disposable {
  gradients(): Promise<{ loss: number; gradients: Map<string, Float32Array> }>;
}

const TRAINERS: readonly (readonly [
  name: string,
  configOf: (overrides: string[]) => ResolvedConfig,
  make: (config: ResolvedConfig) => Promise<Steps>,
])[] = [["DPO", tinyConfig, tinyRun], ["KTO", tinyKTOConfig, tinyKTO]];

for (const [name, configOf, make] of TRAINERS) {
  Deno.test(`NEFTune's noise changes the loss of ${name}, the same with the same seed`, async () => {
    const step = async (alpha: number) => {
      using run = await make(configOf([`training.neftune_noise_alpha=${alpha}`]));
      return await run.gradients();
    };
    const none = await step(0), noisy = await step(15), again = await step(15);
    assert(largestDifference(noisy.gradients, none.gradients) > 1e-3);
    assertEquals([again.loss, again.gradients], [noisy.loss, noisy.gradients]);
  });
}
