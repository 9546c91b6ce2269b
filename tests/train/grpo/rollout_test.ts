import { assertEquals, assertThrows } from "@std/assert";
import type { GRPOPrompt } from "../../../src/train/grpo/prompts.ts";
import { restoreRollout, type Rollout, storeRollout } from "../../../src/train/grpo/rollout.ts";

const prompt: GRPOPrompt = {
  ids: [1, 2, 3],
  images: [],
  example: { images: [], prompt: [], conversational: false, columns: {} },
  cursor: { epoch: 1, index: 4 },
};

const rollout: Rollout = {
  sampledAtStep: 7,
  groups: [{
    prompt,
    sequences: [
      {
        tokens: [5, 70_000, 2],
        truncated: false,
        advantage: 0.1 + 0.2,
        logProbs: [-0.1, -1e-17, -Math.PI],
        refLogProbs: [-0.2, -1e300, -0],
        tokenAdvantages: [0.5, -1e-17, 2],
      },
      {
        ...{ tokens: [9], truncated: true, advantage: -1 / 3, logProbs: [-3], refLogProbs: null },
        tokenAdvantages: null,
      },
    ],
  }],
};

Deno.test("a rollout comes back from JSON to the bit", async () => {
  const stored = JSON.parse(JSON.stringify(storeRollout(rollout)));
  const restored = await restoreRollout(stored, (cursor) => {
    assertEquals(cursor, { epoch: 1, index: 4 });
    return Promise.resolve(prompt);
  });
  assertEquals(restored, rollout);
  assertEquals(Object.is(restored.groups[0].sequences[0].refLogProbs?.[2], -0), true);
});

Deno.test("storeRollout() refuses prompts that cannot be found again", () => {
  const held = { ...rollout, groups: [{ prompt: { ...prompt, cursor: null }, sequences: [] }] };
  assertThrows(() => storeRollout(held), Error, "no place");
});
