import { assert, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { initBackend } from "../../../../src/device/backend.ts";
import { readBack } from "../../../../src/device/read_back.ts";
import { VisionLanguageModel } from "../../../../src/generate/vision_language_model.ts";
import {
  defaultLoraConfig,
  initializeAdapter,
  saveAdapterFolder,
} from "../../../../src/model/files/adapter_files.ts";
import { writeSafetensors } from "../../../../src/model/safetensors/safetensors.ts";
import { RandomStream } from "../../../../src/random.ts";
import { ChatExampleBuilder } from "../../../../src/text/chat_example.ts";
import { fixturesDirectory } from "../../../parity/shared_fixtures.ts";

/** `NANOVLM_TEST_PYTHON` names a Python with torch, transformers and peft; else `python3`. */
const python = Deno.env.get("NANOVLM_TEST_PYTHON") ?? "python3";
const script = new URL("./transformers_interop.py", import.meta.url).pathname;

function imports(modules: string): boolean {
  try {
    return new Deno.Command(python, { args: ["-c", `import ${modules}`], stderr: "null" })
      .outputSync().success;
  } catch {
    return false;
  }
}

const ready = fixturesDirectory !== null && imports("torch, transformers, peft, PIL");
const needs = ready ? "" : ` (skipped: needs shared/fixtures and ${python} with transformers)`;

/** Moves every weight a little, so that nothing of the file it came from is left. */
function disturb(model: VisionLanguageModel): void {
  for (const [name, variable] of model.weights) {
    const random = new RandomStream(5, name);
    const noise = Float32Array.from({ length: variable.size }, () => 0.02 * random.nextNormal());
    tf.tidy(() => variable.assign(variable.add(tf.tensor(noise, variable.shape))));
  }
}

interface Difference {
  dtype: string;
  same_ids: boolean;
  pixels: number;
  logits: number;
}

/** What Transformers computes from the saved folder, beside what the model computes here. */
async function compare(
  model: VisionLanguageModel,
  folder: string,
  adapter?: string,
): Promise<Difference> {
  const pictures = ["7_tall.png", "2_l.png"].map((name) =>
    `${fixturesDirectory}/preprocess/images/${name}`
  );
  const images = [];
  for (const path of pictures) {
    images.push(await model.imageProcessor!.process(await Deno.readFile(path)));
  }
  const builder = new ChatExampleBuilder(model.tokenizer!, {
    mpImageTokenLength: model.config.mp_image_token_length,
  });
  const content = "First <image> then <image> which is 12?";
  const inputIds = builder.buildPrompt(
    [{ role: "user", content }],
    images.map(({ grid }) => grid),
  );
  const { logits } = model.forward({ inputIds: [inputIds], images, returnLogits: true });
  const [values] = await readBack([logits!]);
  const S = model.config.vit_img_size;
  const tiles = images.reduce((sum, { tileCount }) => sum + tileCount, 0);
  const pixels = new Float32Array(tiles * 3 * S * S);
  let to = 0;
  for (const image of images) {
    pixels.set(image.tiles, to);
    to += image.tiles.length;
  }
  await writeSafetensors(`${folder}/record.safetensors`, [
    { name: "logits", shape: logits!.shape.slice(1), data: values as Float32Array },
    { name: "pixel_values", shape: [tiles, 3, S, S], data: pixels },
  ]);
  logits!.dispose();
  const parts = ["First ", null, " then ", null, " which is 12?"]
    .map((text) => text === null ? { type: "image" } : { type: "text", text });
  await Deno.writeTextFile(
    `${folder}/record.json`,
    JSON.stringify({
      messages: [{ role: "user", content: parts }],
      pictures,
      input_ids: inputIds,
    }),
  );
  const args = [script, folder, `${folder}/record.json`, ...(adapter ? [adapter] : [])];
  const { success, stdout, stderr } = await new Deno.Command(python, { args }).output();
  assert(success, new TextDecoder().decode(stderr));
  const found = new TextDecoder().decode(stdout).trim().split("\n").at(-1)!;
  console.log(found);
  return JSON.parse(found);
}

function assertSame({ dtype, same_ids, pixels, logits }: Difference): void {
  assertEquals(dtype, "torch.float32");
  assert(same_ids);
  assert(pixels <= 1e-6, `pixels differ by ${pixels}`);
  assert(logits <= 1e-4, `logits differ by ${logits}`);
}

/**
 * The model of a fixture. Its folder says 4.57.6; for another release it is changed, since positions
 * depend on it.
 */
async function fixtureModel(kind: string, copy: string): Promise<VisionLanguageModel> {
  const from = `${fixturesDirectory}/smolvlm/${kind}`;
  const { stdout } = new Deno.Command(python, {
    args: ["-c", "import transformers; print(transformers.__version__)"],
    stderr: "null",
  }).outputSync();
  const version = new TextDecoder().decode(stdout).trim();
  for await (const { name } of Deno.readDir(from)) {
    await Deno.writeFile(`${copy}/${name}`, await Deno.readFile(`${from}/${name}`));
  }
  const config = JSON.parse(await Deno.readTextFile(`${copy}/config.json`));
  await Deno.writeTextFile(
    `${copy}/config.json`,
    JSON.stringify({ ...config, transformers_version: version }),
  );
  return await VisionLanguageModel.fromPretrained(copy, { onWarning: () => {} });
}

for (const kind of ["smolvlm", "idefics3"]) {
  Deno.test({
    name: `Transformers reads a saved ${kind} with its processor and computes our logits${needs}`,
    ignore: !ready,
    async fn() {
      await initBackend({ backend: "wasm" });
      const folder = await Deno.makeTempDir(), copy = await Deno.makeTempDir();
      const model = await fixtureModel(kind, copy);
      try {
        disturb(model);
        await model.savePretrained(folder);
        assertSame(await compare(model, folder));
      } finally {
        model.dispose();
        await Deno.remove(folder, { recursive: true });
        await Deno.remove(copy, { recursive: true });
      }
    },
  });
}

Deno.test({
  name: `PEFT puts a saved adapter on a SmolVLM and computes our logits${needs}`,
  ignore: !ready,
  async fn() {
    await initBackend({ backend: "wasm" });
    const copy = await Deno.makeTempDir();
    const model = await fixtureModel("smolvlm", copy);
    try {
      const config = {
        ...defaultLoraConfig(),
        r: 4,
        init_lora_weights: false,
        target_modules: ["q_proj", "k_proj", "v_proj", "o_proj", "down_proj"],
        rank_pattern: { "layers.1.self_attn.o_proj": 2 },
      };
      const { adapters } = await initializeAdapter(model.config, config, 3, () => {
        throw new Error("LoRA needs no weights");
      });
      assert(adapters.has("vision_encoder.blocks.0.attn.q_proj"));
      const folder = `${copy}/adapter`;
      await Deno.mkdir(folder);
      const projector = "MP.proj.weight";
      const trained = model.weights.get(projector)!;
      tf.tidy(() => trained.assign(trained.mul(1.5)));
      await saveAdapterFolder(folder, model.config, {
        config,
        adapters: new Map(
          [...adapters].map((
            [layer, { loraA, loraB }],
          ) => [layer, { loraA, loraB, magnitude: null }]),
        ),
        trained: new Map([[projector, {
          shape: trained.shape,
          data: trained.dataSync() as Float32Array,
        }]]),
      });
      const adapted = await VisionLanguageModel.fromPretrained(copy, {
        adapter: folder,
        onWarning: () => {},
      });
      try {
        assertEquals(adapted.adapters.size, adapters.size);
        assertSame(await compare(adapted, copy, folder));
      } finally {
        adapted.dispose();
      }
    } finally {
      model.dispose();
      await Deno.remove(copy, { recursive: true });
    }
  },
});
