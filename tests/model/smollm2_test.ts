/**
 * Real weights. `NANOVLM_TEST_SMOLLM2` names a SmolLM2-135M-Instruct folder of Transformers (0.5
 * GB, so not in the repository) and `NANOVLM_TEST_PYTHON` a Python with torch and transformers.
 */
import { assert, assertEquals } from "@std/assert";
import { initBackend } from "../../src/device/backend.ts";
import { readBack } from "../../src/device/read_back.ts";
import { convertBackbones } from "../../src/model/convert/convert.ts";
import { readSafetensors } from "../../src/model/safetensors/safetensors.ts";
import { VisionLanguageModel } from "../../src/generate/vision_language_model.ts";

const folder = Deno.env.get("NANOVLM_TEST_SMOLLM2");
const python = Deno.env.get("NANOVLM_TEST_PYTHON") ?? "python3";
const skipped = folder === undefined ? " (skipped: NANOVLM_TEST_SMOLLM2 names no folder)" : "";

const TEXT = "The capital of France is Paris. It lies on the Seine, and about two million people " +
  "live there. The city is known for its museums, its food, and the Eiffel Tower, which was " +
  "built in 1889 for a world's fair. Every year, millions of visitors come to see it, and most " +
  "of them also walk along the river, visit the Louvre, or sit in a cafe.";

Deno.test({
  name: `a converted SmolLM2 has Transformers' logits on 64 tokens, to 1e-3${skipped}`,
  ignore: folder === undefined,
  // tfjs-wasm keeps its worker threads.
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const recorded = await Deno.makeTempFile({ suffix: ".safetensors" });
    const script = new URL("./python_interop.py", import.meta.url).pathname;
    const { success, stderr } = await new Deno.Command(python, {
      args: [script, "logits", folder ?? "", TEXT, "64", recorded],
    }).output();
    assert(success, new TextDecoder().decode(stderr));
    const expected = await readSafetensors(recorded);
    await Deno.remove(recorded);

    await initBackend({ backend: "wasm" });
    using converted = await convertBackbones({
      languageDir: folder ?? "",
      seed: 0,
      vlmConfig: {
        vit_hidden_dim: 16,
        vit_inter_dim: 32,
        vit_n_heads: 2,
        vit_n_blocks: 1,
        vit_img_size: 32,
        vit_patch_size: 8,
      },
    });
    const { config, specs } = converted;
    const weights = function* (): Generator<[string, { shape: number[]; data: Float32Array }]> {
      for (const { name } of specs) yield [name, converted.read(name)];
    };
    const model = new VisionLanguageModel(config, weights(), config.lm_vocab_size - 1);
    const ids = expected.get("input_ids")?.data;
    assert(ids instanceof Int32Array && ids.length === 64);
    const { logits } = model.forward({ inputIds: [ids], returnLogits: true });
    assert(logits !== null);
    const [values] = await readBack([logits]);
    logits.dispose();
    model.dispose();
    const wanted = expected.get("logits");
    assert(wanted !== undefined);
    const V = wanted.shape[2];
    let largest = 0;
    let agreeing = 0;
    for (let t = 0; t < 64; t++) {
      let best = 0, recordedBest = 0;
      for (let v = 0; v < V; v++) {
        const got = values[t * config.lm_vocab_size + v];
        largest = Math.max(largest, Math.abs(got - Number(wanted.data[t * V + v])));
        if (got > values[t * config.lm_vocab_size + best]) best = v;
        if (wanted.data[t * V + v] > wanted.data[t * V + recordedBest]) recordedBest = v;
      }
      if (best === recordedBest) agreeing++;
    }
    console.log(`largest error of a logit ${largest}, same best token at ${agreeing} of 64`);
    assertEquals(agreeing, 64);
    assert(largest < 1e-3, String(largest));
  },
});
