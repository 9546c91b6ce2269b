import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  convertBackbones,
  type ConvertedModel,
  ConvertError,
} from "../../../src/model/convert/convert.ts";
import {
  readSafetensors,
  SafetensorsFile,
  type TensorToWrite,
  writeSafetensors,
} from "../../../src/model/safetensors/safetensors.ts";
import { expectedShapes } from "../../../src/model/files/weights.ts";

const backbones = new URL("../../../../shared/fixtures/backbones/", import.meta.url).pathname;
const hasShared = await Deno.stat(backbones).then(() => true, () => false);
const root = await Deno.makeTempDir();
globalThis.addEventListener("unload", () => Deno.removeSync(root, { recursive: true }));
const needsShared = { ignore: !hasShared };
const siglip = `${backbones}siglip`;
const llama = `${backbones}llama`;

type Values = Record<string, unknown>;

/** Copies a backbone with its config and tensors changed. */
async function variant(
  source: string,
  name: string,
  config: (values: Values) => Values,
  tensors: (list: TensorToWrite[]) => TensorToWrite[] = (list) => list,
): Promise<string> {
  const folder = `${root}/${name}`;
  await Deno.mkdir(folder, { recursive: true });
  const values: Values = JSON.parse(await Deno.readTextFile(`${source}/config.json`));
  await Deno.writeTextFile(`${folder}/config.json`, JSON.stringify(config(values)));
  const list = [...await readSafetensors(`${source}/model.safetensors`)]
    .map(([name, { shape, data }]) => ({ name, shape, data }));
  await writeSafetensors(`${folder}/model.safetensors`, tensors(list));
  return folder;
}

function everything(model: ConvertedModel): Map<string, { shape: number[]; data: Float32Array }> {
  return new Map(model.specs.map(({ name }) => {
    const { shape, data } = model.read(name);
    return [name, { shape, data }];
  }));
}

Deno.test({
  name: "convertBackbones() gives every tensor its shape, and q, k, v their place (needs shared)",
  ...needsShared,
  async fn() {
    using model = await convertBackbones({ languageDir: llama, visionDir: siglip, seed: 5 });
    const { config } = model;
    assertEquals(config.lm_vocab_size, 366);
    assertEquals([config.lm_n_heads, config.lm_n_kv_heads, config.lm_re_base], [6, 2, 100000]);
    assertEquals([config.vit_n_heads, config.vit_img_size, config.vit_patch_size], [4, 32, 8]);
    assertEquals([config.mp_pixel_shuffle_factor, config.mp_image_token_length], [4, 1]);
    assertEquals([config.lm_tie_weights, config.max_img_size], [true, 256]);
    const made = everything(model);
    assertEquals(
      new Map([...made].map(([name, { shape }]) => [name, shape])),
      expectedShapes(config),
    );
    using source = SafetensorsFile.open(`${siglip}/model.safetensors`);
    const qkv = made.get("vision_encoder.blocks.1.attn.qkv_proj.weight")?.data;
    for (const [i, layer] of ["q_proj", "k_proj", "v_proj"].entries()) {
      const name = `vision_model.encoder.layers.1.self_attn.${layer}.weight`;
      assertEquals(qkv?.slice(i * 48 * 48, (i + 1) * 48 * 48), source.readFloats(name).data);
    }
    using words = SafetensorsFile.open(`${llama}/model.safetensors`);
    assertEquals(
      made.get("decoder.blocks.1.attn.out_proj.weight")?.data,
      words.readFloats("model.layers.1.self_attn.o_proj.weight").data,
    );
    const head = made.get("decoder.head.weight")?.data ?? new Float32Array();
    assertEquals(head.slice(0, 300 * 48), words.readFloats("model.embed_tokens.weight").data);
    const fresh = head.slice(300 * 48);
    const std = Math.sqrt(fresh.reduce((a, b) => a + b * b, 0) / fresh.length);
    assert(Math.abs(std - 0.02) < 0.001, String(std));
  },
});

Deno.test({
  name: "convertBackbones() gets the same from shards and Transformers 4's config (needs shared)",
  ...needsShared,
  async fn() {
    using one = await convertBackbones({ languageDir: llama, seed: 5, vlmConfig: small });
    using two = await convertBackbones({
      languageDir: `${backbones}llama-sharded`,
      seed: 5,
      vlmConfig: small,
    });
    assertEquals(everything(one), everything(two));
    assertEquals(one.config, {
      ...two.config,
      lm_model_type: one.config.lm_model_type,
      lm_tokenizer: one.config.lm_tokenizer,
    });
    assertEquals(one.config.vit_n_blocks, 1);
    using other = await convertBackbones({ languageDir: llama, seed: 6, vlmConfig: small });
    const name = "MP.proj.weight";
    assert(String(one.read(name).data) !== String(other.read(name).data));
  },
});

const small = {
  vit_hidden_dim: 16,
  vit_inter_dim: 20,
  vit_n_heads: 2,
  vit_n_blocks: 1,
  vit_img_size: 32,
  vit_patch_size: 8,
};

Deno.test({
  name: "convertBackbones() reads the vision part alone, without its prefix (needs shared)",
  ...needsShared,
  async fn() {
    const folder = await variant(
      siglip,
      "vision-only",
      (values) => ({ ...values.vision_config as Values, model_type: "siglip_vision_model" }),
      (list) =>
        list.filter(({ name }) => name.startsWith("vision_model."))
          .map((tensor) => ({ ...tensor, name: tensor.name.slice("vision_model.".length) })),
    );
    using whole = await convertBackbones({ languageDir: llama, visionDir: siglip, seed: 1 });
    using part = await convertBackbones({ languageDir: llama, visionDir: folder, seed: 1 });
    assertEquals(everything(whole), everything(part));
  },
});

Deno.test({
  name: "convertBackbones() keeps an untied head apart, and unties where asked (needs shared)",
  ...needsShared,
  async fn() {
    const folder = await variant(
      llama,
      "untied",
      (values) => ({ ...values, tie_word_embeddings: false }),
      (list) => [...list, {
        name: "lm_head.weight",
        shape: [300, 48],
        data: new Float32Array(300 * 48).fill(3),
      }],
    );
    using model = await convertBackbones({ languageDir: folder, seed: 1, vlmConfig: small });
    assertEquals(model.config.lm_tie_weights, false);
    assertEquals(model.read("decoder.head.weight").data.slice(0, 3), new Float32Array(3).fill(3));
    assertEquals(model.read("decoder.head.weight").shape, [366, 48]);
    assert(model.read("decoder.token_embedding.weight").data[0] !== 3);

    using parted = await convertBackbones({
      languageDir: llama,
      seed: 1,
      vlmConfig: { ...small, lm_tie_weights: false },
      onWarning: () => {},
    });
    assertEquals(
      parted.read("decoder.head.weight").data.slice(0, 300 * 48),
      parted.read("decoder.token_embedding.weight").data.slice(0, 300 * 48),
    );
    const warnings: string[] = [];
    using tied = await convertBackbones({
      languageDir: folder,
      seed: 1,
      vlmConfig: { ...small, lm_tie_weights: true },
      onWarning: (text) => warnings.push(text),
    });
    assert(tied.read("decoder.head.weight").data[0] !== 3);
    assert(warnings.some((text) => text.includes("drops the head")), String(warnings));
  },
});

Deno.test({
  name: "convertBackbones() warns of wishes that a backbone decides (needs shared)",
  ...needsShared,
  async fn() {
    const warnings: string[] = [];
    using model = await convertBackbones({
      languageDir: llama,
      visionDir: siglip,
      seed: 1,
      vlmConfig: { lm_hidden_dim: 960, lm_vocab_size: 400, mp_pixel_shuffle_factor: 2 },
      onWarning: (text) => warnings.push(text),
    });
    assertEquals(model.config.lm_hidden_dim, 48);
    assertEquals([model.config.lm_vocab_size, model.config.mp_image_token_length], [400, 4]);
    assertEquals(warnings.length, 1);
    assert(warnings[0].includes("lm_hidden_dim is 960"), warnings[0]);
  },
});

const refusals: [string, string, (v: Values) => Values, RegExp][] = [
  [llama, "another architecture", (v) => ({ ...v, model_type: "gemma" }), /want "llama"/],
  [llama, "another activation", (v) => ({ ...v, hidden_act: "gelu" }), /hidden_act is "gelu"/],
  [llama, "biases", (v) => ({ ...v, attention_bias: true }), /attention_bias is true/],
  [llama, "wide heads", (v) => ({ ...v, head_dim: 16 }), /head_dim 16 × num_attention_heads 6/],
  [
    llama,
    "scaled rotary embeddings",
    (v) => ({ ...v, rope_parameters: { rope_type: "llama3", rope_theta: 1 } }),
    /are scaled \("llama3"\)/,
  ],
  [llama, "a shape that lies", (v) => ({ ...v, intermediate_size: 96 }), /is \[80,48\], its/],
  [
    llama,
    "too few layers",
    (v) => ({ ...v, num_hidden_layers: 1 }),
    /layers\.1\..* no counterpart/,
  ],
  [llama, "too many layers", (v) => ({ ...v, num_hidden_layers: 3 }), /no tensor model.layers.2/],
  [llama, "an untied head it lacks", (v) => ({ ...v, tie_word_embeddings: false }), /no lm_head/],
  [llama, "a missing dim", (v) => ({ ...v, hidden_size: undefined }), /hidden_size is undefined/],
  [siglip, "variable resolution", (v) => ({ ...v, model_type: "siglip2" }), /fixed size/],
  [
    siglip,
    "another picture size",
    (v) => ({ ...v, vision_config: { ...v.vision_config as Values, image_size: 64 } }),
    /position_embedding.weight is \[16,48\], its config.json wants \[64,48\]/,
  ],
  [
    siglip,
    "another GELU",
    (v) => ({ ...v, vision_config: { ...v.vision_config as Values, hidden_act: "gelu" } }),
    /hidden_act is "gelu"/,
  ],
];
for (const [source, what, change, message] of refusals) {
  Deno.test({
    name: `convertBackbones() refuses ${what} (needs shared)`,
    ...needsShared,
    async fn() {
      const folder = await variant(source, what.replaceAll(" ", "-"), change);
      const error = await assertRejects(
        () =>
          convertBackbones({
            languageDir: source === llama ? folder : llama,
            visionDir: source === siglip ? folder : undefined,
            seed: 1,
            vlmConfig: small,
          }),
        ConvertError,
      );
      assert(message.test(error.message), error.message);
    },
  });
}

Deno.test({
  name: "convertBackbones() refuses another vit_img_size and too small a vocabulary (needs shared)",
  ...needsShared,
  async fn() {
    const options = { languageDir: llama, visionDir: siglip, seed: 1 };
    await assertRejects(
      () => convertBackbones({ ...options, vlmConfig: { vit_img_size: 64 } }),
      ConvertError,
      "position embeddings are not interpolated",
    );
    await assertRejects(
      () => convertBackbones({ ...options, vlmConfig: { lm_vocab_size: 299 } }),
      ConvertError,
      "set it to 366",
    );
  },
});
