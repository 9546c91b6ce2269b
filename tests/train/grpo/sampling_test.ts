import { assertEquals } from "@std/assert";
import { samplingSettings } from "../../../src/train/grpo/sampling.ts";
import { tinyConfig } from "./tiny_grpo.ts";

Deno.test("samplingSettings(): keys of generation_kwargs win over those of the section", () => {
  const { grpo } = tinyConfig([
    "grpo.temperature=0.7",
    "grpo.top_k=20",
    "grpo.generation_kwargs={ top_k: 5, min_p: 0.1, repetition_penalty: 1.2 }",
  ]);
  const { temperature, topK, topP, minP, repetitionPenalty } = samplingSettings(grpo, 1);
  assertEquals({ temperature, topK, topP, minP, repetitionPenalty }, {
    temperature: 0.7,
    topK: 5,
    topP: 1,
    minP: 0.1,
    repetitionPenalty: 1.2,
  });
});
