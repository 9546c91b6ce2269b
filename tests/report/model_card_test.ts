import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { parse } from "@std/yaml";
import { type ModelCard, renderModelCard } from "../../src/report/model_card.ts";

const CARD: ModelCard = {
  repo: "me/shapes",
  trainingType: "dpo",
  base: "lusxvr/nanoVLM-230M-8k",
  data: "/home/me/secret place/pictures/",
  isAdapter: true,
  steps: 800,
  metrics: { eval_loss: 0.0123456789, broken: NaN },
  tables: [{ title: "Before | after", columns: ["a|b", "c"], rows: [["x\ny", null]] }],
  configYaml: 'a: "```"\n',
};

/** The YAML at the head of a card, and the rest. */
function partsOf(card: string): { header: Record<string, unknown>; body: string } {
  const [, header, body] = /^---\n([\s\S]*?)\n---\n([\s\S]*)$/.exec(card)!;
  return { header: parse(header) as Record<string, unknown>, body };
}

Deno.test("renderModelCard() has a header that the Hub reads", () => {
  const { header } = partsOf(renderModelCard(CARD));
  assertEquals(header, {
    library_name: "peft",
    pipeline_tag: "image-text-to-text",
    tags: ["vision-language-model", "nanovlm-lab", "dpo"],
    base_model: "lusxvr/nanoVLM-230M-8k",
  });
  const own = partsOf(renderModelCard({ ...CARD, base: null, data: "HuggingFaceM4/ChartQA" }));
  assertEquals(own.header.datasets, ["HuggingFaceM4/ChartQA"]);
  assertEquals(own.header.base_model, undefined);
});

Deno.test("renderModelCard() tells data, numbers and settings, and no folder of this machine", () => {
  const { body } = partsOf(renderModelCard(CARD));
  assert(!body.includes("/home/me"));
  assertStringIncludes(body, "on pictures, 800 steps");
  assertStringIncludes(body, "| eval_loss | 0.0123457 |");
  assert(!body.includes("broken"));
  assertStringIncludes(body, "| a\\|b | c |");
  assertStringIncludes(body, "| x y | – |");
  // The configuration holds a fence of three: its own is longer.
  assertStringIncludes(body, '````yaml\na: "```"\n````');
});
