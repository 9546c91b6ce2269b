import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { loraScaling } from "../../../src/model/files/adapter_config.ts";
import {
  AdapterError,
  defaultLoraConfig,
  initializeAdapter,
  type LoraConfig,
  matchTargetModules,
  readAdapter,
  saveAdapterFolder,
} from "../../../src/model/files/adapter_files.ts";
import { modulesToSave } from "../../../src/model/files/adapter_targets.ts";
import { initializeWeights } from "../../../src/model/initialize.ts";
import { mergedConfig, mergedReader, mergeWeight } from "../../../src/model/convert/merge.ts";
import { type HostTensor, readSafetensors } from "../../../src/model/safetensors/safetensors.ts";
import { openWeights, readConfig, weightSpecs } from "../../../src/model/files/weights.ts";
import { fixtureTest } from "../../parity/shared_fixtures.ts";
import { tinyConfig } from "../tiny_config.ts";

const root = await Deno.makeTempDir();
globalThis.addEventListener("unload", () => Deno.removeSync(root, { recursive: true }));

const base = new Map(initializeWeights(tinyConfig, 3));
const readBase = (name: string): Float32Array => base.get(name)?.data ?? new Float32Array();

function largestError(got: ArrayLike<number>, wanted: HostTensor | undefined): number {
  assert(wanted !== undefined && got.length === wanted.data.length);
  let error = 0;
  for (let i = 0; i < got.length; i++) {
    error = Math.max(error, Math.abs(got[i] - Number(wanted.data[i])));
  }
  return error;
}

fixtureTest("matchTargetModules() wraps what PEFT wrapped", async (fixtures) => {
  const model = await readConfig(`${fixtures}/model`);
  const { wrapped_modules: cases }: {
    wrapped_modules: Record<string, { target_modules: string[]; modules: string[] }>;
  } = JSON.parse(await Deno.readTextFile(`${fixtures}/lora/lora.json`));
  for (const [name, { target_modules, modules }] of Object.entries(cases)) {
    const got = matchTargetModules(model, { target_modules });
    assertEquals(got.modules.toSorted(), modules.toSorted(), name);
    const warned = target_modules.includes("o_proj") ? 1 : 0;
    assertEquals(got.warnings.length, warned, name);
  }
});

for (const kind of ["lora", "dora"]) {
  fixtureTest(`mergeWeight() merges ${kind} as PEFT does, to 1e-5`, async (fixtures) => {
    const model = await readConfig(`${fixtures}/model`);
    const adapter = await readAdapter(`${fixtures}/lora/${kind}`, model);
    assertEquals(adapter.adapters.size, 18);
    const wanted = await readSafetensors(`${fixtures}/lora/${kind}_forward.safetensors`);
    using weights = await openWeights(`${fixtures}/model`, model);
    const read = mergedReader(model, adapter, (name) => weights.read(name));
    let compared = 0;
    for (const [name, tensor] of wanted) {
      if (!name.startsWith("merged.")) continue;
      assert(largestError(read(name.slice("merged.".length)).data, tensor) < 1e-5, name);
      compared++;
    }
    assert(compared >= 4);
    assertEquals(read("decoder.norm.weight"), weights.read("decoder.norm.weight"));
  });

  fixtureTest(`saveAdapterFolder() keeps ${kind} as it was read`, async (fixtures) => {
    const model = await readConfig(`${fixtures}/model`);
    const adapter = await readAdapter(`${fixtures}/lora/${kind}`, model);
    const out = `${root}/${kind}`;
    await saveAdapterFolder(out, model, adapter);
    const bytes = (folder: string): Uint8Array =>
      Deno.readFileSync(`${folder}/adapter_model.safetensors`);
    assertEquals(bytes(out), bytes(`${fixtures}/lora/${kind}`));
    const ours = JSON.parse(Deno.readTextFileSync(`${out}/adapter_config.json`));
    const theirs = JSON.parse(
      Deno.readTextFileSync(`${fixtures}/lora/${kind}/adapter_config.json`),
    );
    for (const [key, value] of Object.entries(ours)) assertEquals(value, theirs[key], key);
  });
}

Deno.test("matchTargetModules() follows PEFT's rules for lists, strings and exclusions", () => {
  const modules = (targets: Partial<LoraConfig>): string[] =>
    matchTargetModules(tinyConfig, { ...defaultLoraConfig(), ...targets }).modules;
  assertEquals(modules({ target_modules: ["MP.proj"] }), ["MP.proj"]);
  assertEquals(modules({ target_modules: ["decoder.blocks.1.attn.q_proj"] }).length, 1);
  assertEquals(modules({ target_modules: ["proj"] }), ["MP.proj"]);
  assertEquals(modules({ target_modules: "decoder\\..*\\.(q|v)_proj" }).length, 4);
  assertEquals(modules({ target_modules: "all-linear" }).length, 8 + 14 + 2);
  assertEquals(
    modules({ target_modules: ["q_proj"], layers_to_transform: [1] }),
    ["decoder.blocks.1.attn.q_proj"],
  );
  assertEquals(
    modules({ target_modules: ["out_proj"], exclude_modules: "vision_encoder\\..*" }).length,
    2,
  );
  assertEquals(
    modules({ target_modules: ["fc1", "q_proj"], modules_to_save: ["vision_encoder"] }).length,
    2,
  );
  const fail = (target_modules: string[] | string, message: string): void => {
    assertThrows(() => modules({ target_modules }), AdapterError, message);
  };
  fail("q_proj", "a string has to match whole names");
  fail(["o_proj"], "nanoVLM calls its attention output out_proj");
  fail(["roj"], "the linear layers here are qkv_proj");
  fail(["q_proj", "norm1"], "Cannot adapt decoder.blocks.0.norm1");
  fail("(", "a group without an end");
});

Deno.test("loraScaling() knows rsLoRA and the patterns of single layers", () => {
  const config = { ...defaultLoraConfig(), r: 4, lora_alpha: 8 };
  assertEquals(loraScaling(config, "decoder.blocks.0.attn.q_proj"), { r: 4, scaling: 2 });
  assertEquals(loraScaling({ ...config, use_rslora: true }, "x"), { r: 4, scaling: 4 });
  const patterned = {
    ...config,
    rank_pattern: { q_proj: 2, "decoder.*v_proj": 8 },
    alpha_pattern: { "blocks.1.attn.q_proj": 1 },
  };
  assertEquals(loraScaling(patterned, "decoder.blocks.1.attn.q_proj"), { r: 2, scaling: 0.5 });
  assertEquals(loraScaling(patterned, "decoder.blocks.0.attn.v_proj"), { r: 8, scaling: 1 });
  assertEquals(loraScaling(patterned, "decoder.blocks.0.attn.k_proj"), { r: 4, scaling: 2 });
});

Deno.test("initializeAdapter() starts as the base model, LoRA and DoRA alike", async () => {
  for (const use_dora of [false, true]) {
    const config = { ...defaultLoraConfig(), r: 2, use_dora };
    const adapter = await initializeAdapter(tinyConfig, config, 5, readBase);
    assertEquals(adapter.adapters.size, 12);
    for (const [module, one] of adapter.adapters) {
      const before = readBase(`${module}.weight`);
      const after = mergeWeight(before, one);
      after.forEach((x, i) => assert(Math.abs(x - before[i]) < 1e-8, module));
      assert(one.loraA.data.some((x) => x !== 0));
      const bound = 1 / Math.sqrt(one.loraA.shape[1]);
      assert(one.loraA.data.every((x) => Math.abs(x) <= bound));
    }
    const again = await initializeAdapter(tinyConfig, config, 5, readBase);
    assertEquals(again.adapters, adapter.adapters);
  }
  const gaussian = await initializeAdapter(
    tinyConfig,
    { ...defaultLoraConfig(), r: 4, init_lora_weights: "gaussian" },
    5,
    readBase,
  );
  const draws = [...gaussian.adapters.values()].flatMap(({ loraA }) => [...loraA.data]);
  const std = Math.sqrt(draws.reduce((a, b) => a + b * b, 0) / draws.length);
  assert(Math.abs(std * 4 - 1) < 0.1, String(std));
});

Deno.test("saveAdapterFolder() carries weights trained beside the adapter, and readAdapter() gives them back", async () => {
  const config = { ...defaultLoraConfig(), r: 2 };
  const adapter = await initializeAdapter(tinyConfig, config, 5, readBase);
  for (const [name, tensor] of base) {
    if (!name.startsWith("decoder.")) adapter.trained.set(name, tensor);
  }
  const out = `${root}/trained`;
  await saveAdapterFolder(out, tinyConfig, adapter);
  const read = await readAdapter(out, tinyConfig);
  assertEquals(read.config.modules_to_save, ["vision_encoder", "MP"]);
  const sorted = <Item>(map: Map<string, Item>): [string, Item][] =>
    [...map].sort(([a], [b]) => a < b ? -1 : 1);
  assertEquals(sorted(read.adapters), sorted(adapter.adapters));
  assertEquals(sorted(read.trained), sorted(adapter.trained));
  const changed = new Map(read.trained).set("MP.proj.weight", {
    shape: [16, 32],
    dtype: "F32" as const,
    data: new Float32Array(512).fill(7),
  });
  const merged = mergedReader(tinyConfig, { ...read, trained: changed }, (name) => {
    const tensor = base.get(name);
    assert(tensor);
    return tensor;
  });
  assertEquals(merged("MP.proj.weight").data[0], 7);
});

Deno.test("modulesToSave() names parts if it can and modules if an adapter is among them", () => {
  const vision = weightSpecs(tinyConfig, ["vision_encoder"]).map(({ name }) => name);
  assertEquals(modulesToSave(tinyConfig, [], []), []);
  assertEquals(modulesToSave(tinyConfig, [...vision, "MP.proj.weight"], []), [
    "vision_encoder",
    "MP",
  ]);
  const wrapped = [
    "vision_encoder.blocks.0.attn.out_proj",
    "vision_encoder.blocks.1.attn.out_proj",
  ];
  const beside = vision.filter((name) => !name.includes("out_proj"));
  const saved = modulesToSave(tinyConfig, beside, wrapped);
  assert(saved.includes("vision_encoder.patch_embedding"));
  assert(saved.includes("vision_encoder.blocks.1.mlp.fc2"));
  assertEquals(saved.length, 1 + 2 * 5 + 1);
  assertThrows(
    () => modulesToSave(tinyConfig, vision, wrapped),
    AdapterError,
    "PEFT keeps an adapted layer's own weights",
  );
  assertThrows(
    () => modulesToSave(tinyConfig, ["vision_encoder.layer_norm.bias"], []),
    AdapterError,
    "the rest of vision_encoder.layer_norm is not trained",
  );
});

Deno.test("readAdapter() refuses adapters that do not fit, each with its reason", async () => {
  const adapter = await initializeAdapter(
    tinyConfig,
    { ...defaultLoraConfig(), r: 2 },
    5,
    readBase,
  );
  const out = `${root}/refused`;
  await saveAdapterFolder(out, tinyConfig, adapter);
  const configPath = `${out}/adapter_config.json`;
  const config = JSON.parse(await Deno.readTextFile(configPath));
  const refuse = async (change: Record<string, unknown>, message: string): Promise<void> => {
    await Deno.writeTextFile(configPath, JSON.stringify({ ...config, ...change }));
    await assertRejects(() => readAdapter(out, tinyConfig), AdapterError, message);
  };
  await refuse({ peft_type: "IA3" }, "only LORA");
  await refuse({ r: 4 }, "is [2,16], this model wants [4,16]");
  await refuse({ r: 0 }, "want a number from 1");
  await refuse({ bias: "all" }, 'bias is "all"');
  await refuse({ use_dora: true }, "lora_magnitude_vector is missing");
  await refuse({ use_qalora: true }, "use_qalora is true");
  await refuse({ target_modules: null }, "no target_modules");
  await refuse({ target_modules: 3 }, "want names or a regular expression");
  await refuse({ target_modules: ["q_proj", "fc1"] }, "the file has nothing for it");
  await refuse({ rank_pattern: { q_proj: "a" } }, "rank_pattern.q_proj");
  await Deno.writeTextFile(configPath, JSON.stringify(config));
  await assertRejects(
    () => readAdapter(out, { ...tinyConfig, lm_hidden_dim: 32 }),
    AdapterError,
    "is it of another model?",
  );
  await assertRejects(
    () => readAdapter(out, { ...tinyConfig, lm_n_blocks: 1 }),
    AdapterError,
    "the model has no layer decoder.blocks.1",
  );
  await assertRejects(() => readAdapter(root, tinyConfig), AdapterError, "no such file");
});

Deno.test("readAdapter() refuses by name what would change the numbers", async () => {
  const lora = { ...defaultLoraConfig(), r: 2 };
  const out = `${root}/keys`;
  await saveAdapterFolder(out, tinyConfig, await initializeAdapter(tinyConfig, lora, 5, readBase));
  const configPath = `${out}/adapter_config.json`;
  const config = JSON.parse(await Deno.readTextFile(configPath));
  const write = (change: Record<string, unknown>) =>
    Deno.writeTextFile(configPath, JSON.stringify({ ...config, ...change }));
  const refuse = async (change: Record<string, unknown>, message: string): Promise<void> => {
    await write(change);
    await assertRejects(() => readAdapter(out, tinyConfig), AdapterError, message);
  };
  for (const start of ["pissa", "pissa_niter_16", "olora", "loftq", "corda", "new_thing"]) {
    await refuse({ init_lora_weights: start }, `init_lora_weights is "${start}"`);
  }
  await refuse({ new_branch: "wide" }, 'it has the key new_branch with the value "wide"');
  await refuse({ kasa_config: { beta: 1 } }, "kasa_config is");
  await refuse({ velora_config: { scale: 1 } }, "velora_config is");
  await refuse({ use_bdlora: { match_strict: true } }, "use_bdlora is");
  await refuse({ ensure_weight_tying: true }, "ensure_weight_tying is true");
  await refuse({ trainable_token_indices: [1] }, "trainable_token_indices is [1]");
  await refuse({ target_parameters: ["q_proj.weight"] }, "target_parameters is");
  await refuse({ target_modules: ["token_embedding"] }, "Cannot adapt decoder.token_embedding");
  await refuse({ target_modules: ["conv"] }, "Cannot adapt vision_encoder.patch_embedding.conv");
  await refuse({ target_modules: ["q_proj"] }, "which target_modules does not match");
  await refuse({ target_modules: "(?<name>decoder).*q_proj" }, "which Python writes (?P<name>");
  await refuse(
    { target_modules: ".*_proj", layers_to_transform: [0] },
    "layers_to_transform stands beside",
  );
  for (const start of [true, false, "gaussian", "orthogonal", "eva"]) {
    await write({ init_lora_weights: start, new_branch: null, other: false, loftq_config: {} });
    assertEquals((await readAdapter(out, tinyConfig)).adapters.size, 12);
  }
});

Deno.test("readAdapter() refuses tensors that PEFT ignores", async () => {
  const lora = { ...defaultLoraConfig(), r: 2 };
  const adapter = await initializeAdapter(tinyConfig, lora, 5, readBase);
  const out = `${root}/ignored`;
  const trained = new Map([["MP.proj.weight", base.get("MP.proj.weight")!]]);
  await saveAdapterFolder(out, tinyConfig, { ...adapter, trained });
  const configPath = `${out}/adapter_config.json`;
  const config = JSON.parse(await Deno.readTextFile(configPath));
  assertEquals((await readAdapter(out, tinyConfig)).trained.size, 1);
  await Deno.writeTextFile(configPath, JSON.stringify({ ...config, modules_to_save: null }));
  await assertRejects(() => readAdapter(out, tinyConfig), AdapterError, "modules_to_save does not");
});

Deno.test("a saved head or embedding unties a tied model, and a saved decoder does not", async () => {
  const lora = { ...defaultLoraConfig(), r: 2, target_modules: ["fc1"] };
  const untied = { ...tinyConfig, lm_tie_weights: false };
  const tensors = new Map(initializeWeights(untied, 8));
  const head = "decoder.head.weight", table = "decoder.token_embedding.weight";
  for (const names of [[head], [table], [head, table]]) {
    const out = `${root}/unties_${names.length}_${names[0]}`;
    const fresh = await initializeAdapter(tinyConfig, lora, 5, readBase);
    const trained = new Map(names.map((name) => [name, tensors.get(name)!]));
    await saveAdapterFolder(out, untied, { ...fresh, trained });
    const adapter = await readAdapter(out, tinyConfig);
    assertEquals(adapter.unties, true);
    const read = mergedReader(tinyConfig, adapter, (name) => base.get(name)!);
    for (const name of [head, table]) {
      const want = names.includes(name) ? tensors.get(name)! : base.get(head)!;
      assertEquals(read(name).data, want.data, name);
    }
    assertEquals(mergedConfig(tinyConfig, adapter).lm_tie_weights, false);
  }
  const fresh = await initializeAdapter(tinyConfig, lora, 5, readBase);
  const decoder = [...base].filter(([name]) => name.startsWith("decoder."));
  const out = `${root}/whole_decoder`;
  await saveAdapterFolder(out, tinyConfig, { ...fresh, trained: new Map(decoder) });
  const adapter = await readAdapter(out, tinyConfig);
  assertEquals(adapter.unties, false);
  assertEquals(mergedConfig(tinyConfig, adapter).lm_tie_weights, true);
  const headAlone = new Map([[head, base.get(head)!]]);
  assertThrows(() => modulesToSave(tinyConfig, headAlone.keys(), []), AdapterError, "is tied");
});
