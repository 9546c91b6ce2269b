import { assertEquals, assertStringIncludes } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { initBackend } from "../../../../src/device/backend.ts";
import { readBack } from "../../../../src/device/read_back.ts";
import { VisionLanguageModel } from "../../../../src/generate/vision_language_model.ts";
import { convert } from "../../../../src/model/convert/convert_folder.ts";
import { ChatExampleBuilder } from "../../../../src/text/chat_example.ts";
import { fixtureTest } from "../../../parity/shared_fixtures.ts";
import { byteLevelTokenizer } from "../../../text/byte_level_tokenizer.ts";

fixtureTest(
  "convert() makes a SmolVLM of the backbones that it makes a nanoVLM of",
  async (directory) => {
    await initBackend({ backend: "wasm" });
    const root = await Deno.makeTempDir();
    const backbones = `${directory}/backbones`;
    await byteLevelTokenizer().save(`${root}/tokenizer`);
    const options = {
      languageDir: `${backbones}/llama`,
      visionDir: `${backbones}/siglip`,
      tokenizerDir: `${root}/tokenizer`,
      seed: 3,
      onWarning: () => {},
    };
    try {
      await convert({ ...options, outDir: `${root}/nano` });
      const { hasTokenizer } = await convert({
        ...options,
        family: "smolvlm",
        outDir: `${root}/smol`,
      });
      assertEquals(hasTokenizer, true);
      const nano = await VisionLanguageModel.fromPretrained(`${root}/nano`);
      const smol = await VisionLanguageModel.fromPretrained(`${root}/smol`);
      assertEquals(smol.config.model_type, "smolvlm");
      assertEquals(smol.config.mp_image_token_length, nano.config.mp_image_token_length);

      const S = smol.config.vit_img_size;
      const image = await smol.imageProcessor!.process({
        width: S,
        height: S,
        data: Uint8Array.from({ length: S * S * 3 }, (_, i) => i * 7 % 256),
      });
      const [first, second] = await readBack(
        [nano, smol].map((model) =>
          model.forward({ inputIds: [[5, 9, 4]], returnLogits: true }).logits!
        ),
      ) as Float32Array[];
      const V = Math.min(nano.config.lm_base_vocab_size, smol.config.lm_vocab_size);
      const columns = (values: Float32Array, width: number) => values.slice(0, Math.min(V, width));
      const largest = columns(first, nano.config.lm_vocab_size).reduce(
        (most, value, i) => Math.max(most, Math.abs(value - second[i])),
        0,
      );
      assertEquals(largest < 1e-5, true, `logits differ by ${largest}`);

      // The same vision encoder, its q, k and v apart.
      assertEquals(smol.weights.has("vision_encoder.blocks.0.attn.q_proj.weight"), true);
      const pixels = tf.tensor4d(image.tiles.slice(0, 3 * S * S), [1, 3, S, S]);
      const [ours, theirs] = await readBack(
        [nano, smol].map((model) => model.imageFeatures(pixels)),
      ) as Float32Array[];
      const difference = ours.reduce((most, x, i) => Math.max(most, Math.abs(x - theirs[i])), 0);
      assertEquals(difference < 1e-5, true, `features differ by ${difference}`);

      // Its own prompts, and its own end of an answer.
      const { tokenizer } = smol;
      const builder = new ChatExampleBuilder(tokenizer!, { mpImageTokenLength: 1 });
      const prompt = tokenizer!.decode(
        builder.buildPrompt([{ role: "user", content: "q" }], [image.grid]),
      );
      assertStringIncludes(prompt, "User:<fake_token_around_image><row_1_col_1><image>");
      assertEquals(tokenizer!.idToToken(tokenizer!.eosTokenId), "<end_of_utterance>");
      nano.dispose();
      smol.dispose();
    } finally {
      await Deno.remove(root, { recursive: true });
    }
  },
);

fixtureTest(
  "a fresh vision encoder takes a uniform grey picture as zero, in both families",
  async (directory) => {
    await initBackend({ backend: "wasm" });
    const root = await Deno.makeTempDir();
    await byteLevelTokenizer().save(`${root}/tokenizer`);
    try {
      for (const [family, grey] of [["nanovlm", 0.5], ["smolvlm", 0]] as const) {
        await convert({
          languageDir: `${directory}/backbones/llama`,
          tokenizerDir: `${root}/tokenizer`,
          seed: 3,
          onWarning: () => {},
          family,
          initPositionEmbedding: "normal",
          vlmConfig: {
            ...{ vit_hidden_dim: 32, vit_inter_dim: 64, vit_n_heads: 2, vit_n_blocks: 1 },
            ...{ vit_patch_size: 8, vit_img_size: 16, max_img_size: 16 },
            mp_pixel_shuffle_factor: 1,
          },
          outDir: `${root}/${family}`,
        });
        const model = await VisionLanguageModel.fromPretrained(`${root}/${family}`);
        const [kernel, bias] = await readBack(
          ["weight", "bias"].map((kind) =>
            model.weights.get(`vision_encoder.patch_embedding.conv.${kind}`)!
          ),
        ) as Float32Array[];
        const size = kernel.length / bias.length;
        const largest = bias.reduce((most, value, channel) => {
          const sum = kernel.subarray(channel * size, (channel + 1) * size)
            .reduce((total, weight) => total + weight * grey, value);
          return Math.max(most, Math.abs(sum));
        }, 0);
        assertEquals(largest < 1e-5, true, `${family}: a grey patch gives ${largest}`);
        model.dispose();
      }
    } finally {
      await Deno.remove(root, { recursive: true });
    }
  },
);
