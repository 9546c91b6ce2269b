import { assert, assertEquals, assertRejects } from "@std/assert";
import { readConfig } from "../../src/model/files/weights.ts";
import { mergeAndVerify } from "../../src/evaluate/merge_verified.ts";
import { initBackend } from "../../src/device/backend.ts";
import { fixtureTest } from "../parity/shared_fixtures.ts";

const root = new URL("../../", import.meta.url);
const temporary = await Deno.makeTempDir();
globalThis.addEventListener("unload", () => Deno.removeSync(temporary, { recursive: true }));

/** Runs a command by its task's own permissions. */
async function task(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["task", "--quiet", ...args],
    cwd: root,
    env: { NO_COLOR: "1", NANOVLM_DEBUG: "" },
  }).output();
  const text = new TextDecoder();
  return { code, out: text.decode(stdout), err: text.decode(stderr) };
}

Deno.test("doctor prints device, wasm, sandbox and Hub, and JSON alone with --json", async () => {
  const { code, out, err } = await task("doctor", "--json");
  assertEquals(code, 0, err);
  const { findings }: { findings: { topic: string; value: string }[] } = JSON.parse(out);
  const topics = findings.map(({ topic }) => topic);
  for (const topic of ["deno", "tfjs", "adapter", "wasm SIMD", "backend auto", "Hub"]) {
    assert(topics.includes(topic), topic);
  }
  assert(topics.some((topic) => topic.startsWith("reward sandbox")));
});

fixtureTest("merge folds an adapter in and says how far the logits moved", async (fixtures) => {
  const out = `${temporary}/merged`;
  const { code, out: said, err } = await task(
    ..."merge --backend wasm --model".split(" "),
    `${fixtures}/model`,
    "--adapter",
    `${fixtures}/lora/dora`,
    "--out",
    out,
  );
  assertEquals(code, 0, err);
  const [, difference] = /before and after: (\S+)/.exec(said) ?? [];
  assert(Number(difference) > 0 && Number(difference) < 1e-3, said);
  const names = [...Deno.readDirSync(out)].map(({ name }) => name).sort();
  for (const name of ["config.json", "model.safetensors", "tokenizer.json"]) {
    assert(names.includes(name), name);
  }
});

fixtureTest("a merge that changes the logits fails and leaves nothing", async (fixtures) => {
  await initBackend({ backend: "wasm" });
  // bfloat16 rounds the merged weights, which moves the logits by more than 1e-3.
  const outDir = `${temporary}/never`;
  await assertRejects(
    () =>
      mergeAndVerify({
        modelDir: `${fixtures}/model`,
        adapterDir: `${fixtures}/lora/lora`,
        outDir,
        dtype: "BF16",
      }),
    Error,
    "a logit changed by",
  );
  await assertRejects(() => Deno.stat(outDir), Deno.errors.NotFound);
});

fixtureTest("convert builds a folder out of backbones, or with a fresh ViT", async (fixtures) => {
  const language = `${fixtures}/backbones/llama-sharded`;
  const whole = `${temporary}/whole`;
  const siglip = `${fixtures}/backbones/siglip`;
  const first = await task("convert", "--language", language, "--vision", siglip, "--out", whole);
  assertEquals(first.code, 0, first.err);
  assert(first.out.startsWith(`${whole}: `), first.out);
  const fresh = `${temporary}/fresh`;
  const dims = [
    "vit_n_blocks=1",
    "vit_hidden_dim=48",
    "vit_n_heads=3",
    "vit_img_size=32",
    "vit_patch_size=8",
    "mp_pixel_shuffle_factor=2",
    "mp_image_token_length=4",
  ].flatMap((dim) => ["--set", `vlm_config.${dim}`]);
  const second = await task("convert", "--language", language, ...dims, "--out", fresh);
  assertEquals(second.code, 0, second.err);
  assertEquals((await readConfig(fresh)).vit_n_blocks, 1);
  const wrong = await task("convert", "--language", `${temporary}/no such`, "--out", fresh + "2");
  assertEquals(wrong.code, 2);
});
