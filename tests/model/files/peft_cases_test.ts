/** Adapters with the logits that PEFT gives: these logits, or a refusal that names the key. */
import { assert, assertRejects } from "@std/assert";
import { initBackend } from "../../../src/device/backend.ts";
import { readBack } from "../../../src/device/read_back.ts";
import { VisionLanguageModel } from "../../../src/generate/vision_language_model.ts";
import { AdapterError } from "../../../src/model/files/adapter_files.ts";
import { readSafetensors } from "../../../src/model/safetensors/safetensors.ts";

const cases = new URL("../../../../shared/cases/", import.meta.url).pathname;
let found = true;
try {
  Deno.statSync(`${cases}/head_lora`);
} catch {
  found = false;
}

const ADAPTERS: readonly [folder: string, base: string, refusal: string | null][] = [
  ["head_lora/u_head_lora", "untied", null],
  ["head_lora/head_lora", "tied", null],
  ["head_lora/all_linear", "tied", null],
  ["tied_head_saved/mts_head", "tied", null],
  ["pissa_olora/pissa_conv", "tied", null],
  ["pissa_olora/init_pissa", "tied", 'init_lora_weights is "pissa"'],
  ["pissa_olora/init_olora", "tied", 'init_lora_weights is "olora"'],
];

for (const [folder, base, refusal] of ADAPTERS) {
  const what = refusal === null ? "gives PEFT's logits" : "is refused by name";
  Deno.test({
    name: `${folder} ${what}${found ? "" : " (skipped: shared/cases is missing)"}`,
    ignore: !found,
    async fn() {
      await initBackend({ backend: "wasm" });
      const load = () =>
        VisionLanguageModel.fromPretrained(`${cases}/base/${base}`, {
          adapter: `${cases}/${folder}`,
        });
      if (refusal !== null) {
        await assertRejects(load, AdapterError, refusal);
        return;
      }
      const model = await load();
      const want = await readSafetensors(`${cases}/${folder}/want.safetensors`);
      const ids = Array.from(want.get("ids")!.data as Int32Array, Number);
      const { logits } = model.forward({ inputIds: [ids], returnLogits: true });
      const [values] = await readBack([logits!]);
      const wanted = want.get("logits")!.data;
      values.forEach((value, i) =>
        assert(Math.abs(value - Number(wanted[i])) < 1e-4, `${i}: ${value}, ${wanted[i]}`)
      );
      logits!.dispose();
      model.dispose();
    },
  });
}

Deno.test({
  name: `a tied model with two different tensors is refused${found ? "" : " (skipped: no cases)"}`,
  ignore: !found,
  async fn() {
    await initBackend({ backend: "wasm" });
    await assertRejects(
      () => VisionLanguageModel.fromPretrained(`${cases}/tied_two_tensors/model`),
      Error,
      "lm_tie_weights",
    );
  },
});
