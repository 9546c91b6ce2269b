import { assert, assertEquals } from "@std/assert";
import { initBackend } from "../../../src/device/backend.ts";
import { parameterGroups } from "../../../src/train/optimizer/parameter_groups.ts";
import { prepareModel } from "../../../src/train/run/prepare_model.ts";
import { tinyConfig } from "../sft/tiny_sft.ts";

const RATES = { modalityProjector: 1e-3, visionEncoder: 2e-3, languageBackbone: 3e-3, lora: 4e-3 };

async function groupsOf(settings: string[], rates = RATES) {
  await initBackend({ backend: "wasm" });
  const { model } = await prepareModel(tinyConfig(settings).model, 1);
  const groups = parameterGroups(model, rates, 0.01);
  const names = [...model.weights.keys()];
  model.dispose();
  return { names, groups };
}

Deno.test("projector, vision encoder and decoder train each at its own rate, every weight once", async () => {
  const { names, groups } = await groupsOf([]);
  assertEquals(
    groups.map(({ name, learningRate, weightDecay }) => [name, learningRate, weightDecay]),
    [
      ["modality_projector", 1e-3, 0.01],
      ["vision_encoder", 2e-3, 0.01],
      ["language_backbone", 3e-3, 0.01],
    ],
  );
  const trained = groups.flatMap(({ parameters }) => [...parameters.keys()]);
  assertEquals(trained.toSorted(), names.toSorted());
});

Deno.test("a rate of 0 freezes a part", async () => {
  const { groups } = await groupsOf([], { ...RATES, visionEncoder: 0, modalityProjector: 0 });
  assertEquals(groups.map(({ name }) => name), ["language_backbone"]);
  assertEquals((await groupsOf([], { ...RATES, languageBackbone: 0 })).groups.length, 2);
});

Deno.test("under LoRA the adapters train, the decoder is frozen, projector and encoder go on", async () => {
  const lora = ["model.use_lora=true", "model.lora_config.target_modules=[q_proj, v_proj]"];
  const { groups } = await groupsOf([...lora, "model.lora_config.use_dora=true"]);
  assertEquals(groups.map(({ name, learningRate }) => [name, learningRate]), [
    ["modality_projector", 1e-3],
    ["vision_encoder", 2e-3],
    ["lora_adapters", 4e-3],
  ]);
  const adapters = [...groups[2].parameters.keys()].toSorted();
  const layer = "base_model.model.decoder.blocks.0.attn";
  assertEquals(
    adapters,
    ["q_proj", "v_proj"].flatMap((name) => [
      `${layer}.${name}.lora_A.weight`,
      `${layer}.${name}.lora_B.weight`,
      `${layer}.${name}.lora_magnitude_vector`,
    ]),
  );
  const others = groups.slice(0, 2).flatMap(({ parameters }) => [...parameters.keys()]);
  assert(!others.some((name) => name.startsWith("decoder.")));
  const frozen = await groupsOf(lora, { ...RATES, modalityProjector: 0, visionEncoder: 0 });
  assertEquals(frozen.groups.map(({ name }) => name), ["lora_adapters"]);
});

Deno.test("of an encoder layer with an adapter the adapter alone trains", async () => {
  const { groups } = await groupsOf([
    "model.use_lora=true",
    "model.lora_config.target_modules=[out_proj]",
  ]);
  const encoder = [...groups[1].parameters.keys()];
  assert(encoder.length > 0 && !encoder.some((name) => name.includes("out_proj")));
  assert([...groups[2].parameters.keys()].some((name) => name.includes("vision_encoder.")));
});
