import { assert, assertEquals } from "@std/assert";
import {
  defaultLoraConfig,
  initializeAdapter,
  type LoraConfig,
  matchTargetModules,
  readAdapter,
  saveAdapterFolder,
} from "../../src/model/files/adapter_files.ts";
import { modulesToSave } from "../../src/model/files/adapter_targets.ts";
import { initializeWeights, uniformTensor } from "../../src/model/initialize.ts";
import { mergedReader } from "../../src/model/convert/merge.ts";
import {
  type HostData,
  readSafetensors,
  SafetensorsFile,
  writeSafetensors,
} from "../../src/model/safetensors/safetensors.ts";
import { saveModelFolder } from "../../src/model/files/weights.ts";
import { RandomStream } from "../../src/random.ts";
import { fixturesDirectory } from "../parity/shared_fixtures.ts";
import { tinyConfig } from "./tiny_config.ts";

/** `NANOVLM_TEST_PYTHON` names a Python with torch, safetensors and peft; else `python3`. */
const python = Deno.env.get("NANOVLM_TEST_PYTHON") ?? "python3";
const script = new URL("./python_interop.py", import.meta.url).pathname;

function imports(modules: string): boolean {
  try {
    return new Deno.Command(python, { args: ["-c", `import ${modules}`], stderr: "null" })
      .outputSync().success;
  } catch {
    return false;
  }
}
const hasTorch = imports("torch, safetensors.torch");
const hasPeft = hasTorch && imports("peft");
const needsTorch = hasTorch ? "" : ` (skipped: ${python} cannot import torch and safetensors)`;
const needsPeft = hasPeft ? "" : ` (skipped: ${python} cannot import torch and peft)`;

const root = await Deno.makeTempDir();
globalThis.addEventListener("unload", () => Deno.removeSync(root, { recursive: true }));

async function runPython(...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(python, { args: [script, ...args] }).output();
  assert(success, new TextDecoder().decode(stderr));
}

const base = new Map(initializeWeights(tinyConfig, 3));
const baseFolder = `${root}/base`;
await saveModelFolder(
  baseFolder,
  tinyConfig,
  [...base].map(([name, { shape, data }]) => ({ name, shape, data })),
);
const baseFile = `${baseFolder}/model.safetensors`;

function noise(shape: readonly number[], name: string): Float32Array {
  return uniformTensor(shape, -0.1, 0.1, new RandomStream(9, name));
}

Deno.test({
  name: `Python's safetensors and ours read each other's files${needsTorch}`,
  ignore: !hasTorch,
  async fn() {
    const theirs = `${root}/theirs.safetensors`;
    await runPython("write", theirs, `${root}/wide.json`);
    const wide: Record<string, number[]> = JSON.parse(
      await Deno.readTextFile(`${root}/wide.json`),
    );
    const read = await readSafetensors(theirs);
    assertEquals([...read.keys()].sort(), Object.keys(wide).sort());
    for (const [name, { data }] of read) assertEquals(Array.from(data, Number), wide[name], name);
    using file = SafetensorsFile.open(theirs);
    const ours = `${root}/ours.safetensors`;
    await writeSafetensors(
      ours,
      file.names.map((name) => ({
        name,
        shape: file.entry(name).shape,
        dtype: file.entry(name).dtype,
        data: (): HostData => file.read(name).data,
      })),
      { metadata: file.metadata },
    );
    assertEquals(Deno.readFileSync(ours), Deno.readFileSync(theirs));
    await runPython("compare", ours, theirs);
  },
});

Deno.test({
  name: `formatConfig() gives Python the keys and types of nanoVLM's own config.json${needsTorch}`,
  ignore: !hasTorch || fixturesDirectory === null,
  async fn() {
    const known = `${fixturesDirectory}/model/config.json`;
    await runPython("vlm_config", `${baseFolder}/config.json`, known);
  },
});

const kinds: [string, Partial<LoraConfig>, boolean][] = [
  ["LoRA", {}, false],
  ["DoRA", { use_dora: true }, false],
  ["rsLoRA with patterns", {
    use_rslora: true,
    rank_pattern: { q_proj: 3 },
    alpha_pattern: { "blocks.1.mlp.up_proj": 5 },
  }, false],
  ["LoRA beside a trained projector and ViT", {}, true],
  ["LoRA within a trained ViT", { target_modules: ["q_proj", "out_proj"] }, true],
];
for (const [kind, change, trains] of kinds) {
  const config: LoraConfig = { ...defaultLoraConfig(), r: 4, lora_alpha: 8, ...change };
  const wrapped = matchTargetModules(tinyConfig, config).modules;
  // An adapted layer's own weight and bias are frozen, as PEFT has it.
  const beside = !trains
    ? []
    : [...base.keys()].filter((name) =>
      !name.startsWith("decoder.") && !wrapped.some((module) => name.startsWith(`${module}.`))
    );

  Deno.test({
    name: `PEFT merges our ${kind} as we do${needsPeft}`,
    ignore: !hasPeft,
    async fn() {
      const read = (name: string): Float32Array => base.get(name)?.data ?? new Float32Array();
      const adapter = await initializeAdapter(tinyConfig, config, 5, read);
      for (const [module, one] of adapter.adapters) {
        one.loraB.data.set(noise(one.loraB.shape, module));
      }
      for (const name of beside) {
        const shape = base.get(name)?.shape ?? [];
        adapter.trained.set(name, { shape, dtype: "F32", data: noise(shape, name) });
      }
      await compareMerged(
        `${root}/ours-${kind}`,
        adapter,
        (folder) => saveAdapterFolder(folder, tinyConfig, adapter),
      );
    },
  });

  Deno.test({
    name: `we merge PEFT's ${kind} as PEFT does${needsPeft}`,
    ignore: !hasPeft,
    async fn() {
      const theirs = {
        r: config.r,
        lora_alpha: config.lora_alpha,
        target_modules: config.target_modules,
        use_dora: config.use_dora,
        use_rslora: config.use_rslora,
        rank_pattern: config.rank_pattern ?? {},
        alpha_pattern: config.alpha_pattern ?? {},
        modules_to_save: trains ? modulesToSave(tinyConfig, beside, wrapped) : null,
      };
      const folder = `${root}/theirs-${kind}`;
      await runPython("adapter", baseFile, JSON.stringify(theirs), folder);
      const adapter = await readAdapter(folder, tinyConfig);
      assertEquals([...adapter.trained.keys()].sort(), beside.sort());
      await compareMerged(folder, adapter, () => Promise.resolve());
    },
  });
}

/** Merges on both sides and compares every weight to 1e-6. */
async function compareMerged(
  folder: string,
  adapter: Parameters<typeof mergedReader>[1],
  save: (folder: string) => Promise<void>,
): Promise<void> {
  await save(folder);
  const merged = `${folder}-merged.safetensors`;
  await runPython("merge", baseFile, folder, merged);
  const read = mergedReader(tinyConfig, adapter, (name) => {
    const tensor = base.get(name);
    assert(tensor, name);
    return tensor;
  });
  let changed = 0;
  const theirs = await readSafetensors(merged);
  for (const name of base.keys()) {
    const wanted = theirs.get(name)?.data;
    assert(wanted, name);
    const before = base.get(name)?.data ?? new Float32Array();
    let largest = 0;
    let moved = false;
    read(name).data.forEach((x, i) => {
      largest = Math.max(largest, Math.abs(x - Number(wanted[i])));
      moved ||= x !== before[i];
    });
    assert(largest < 1e-6, `${name}: ${largest}`);
    if (moved) changed++;
  }
  assert(changed >= adapter.adapters.size, `${changed} weights changed`);
}
