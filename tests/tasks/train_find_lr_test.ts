import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { initBackend } from "../../src/device/backend.ts";
import { prepareModel, writePreparedModel } from "../../src/train/run/prepare_model.ts";
import { parseTrainArguments } from "../../tasks/train.ts";
import { UsageError } from "../../tasks/usage_error.ts";
import { tinyConfig } from "../train/sft/tiny_sft.ts";

const entry = new URL("../../mod.ts", import.meta.url).pathname;

/** Every file below a folder, with a hash of its bytes. */
async function filesOf(folder: string, below = ""): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  for await (const { name, isDirectory } of Deno.readDir(`${folder}/${below}`)) {
    const path = `${below}${name}`;
    if (isDirectory) {
      for (const [inner, hash] of await filesOf(folder, `${path}/`)) files.set(inner, hash);
    } else {
      const bytes = await Deno.readFile(`${folder}/${path}`);
      const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
      files.set(path, hash);
    }
  }
  return files;
}

/** The suggested rate of the projector, which has twice the rate of the decoder. */
function suggestionOf(out: string): string {
  const suggested = out.match(/training\.lr_mp=(\S+) --set training\.lr_language_backbone=(\S+)/);
  assert(suggested, out);
  const ratio = Number(suggested[1]) / Number(suggested[2]);
  assert(Math.abs(ratio - 2) < 0.1, `${ratio}`);
  assert(!out.includes("lr_vision_backbone"), "it is frozen");
  return suggested[1];
}

for (const trainer of ["sft", "dpo"] as const) {
  Deno.test(`train ${trainer} --find-lr tells what it found, and leaves a page and nothing else`, async () => {
    const folder = await Deno.makeTempDir({ prefix: "rates " });
    try {
      await initBackend({ backend: "wasm" });
      const { model, training } = tinyConfig();
      const prepared = await prepareModel(model, training.seed, training);
      await Deno.mkdir(`${folder}/model`);
      await writePreparedModel(prepared, [], `${folder}/model`);
      prepared.model.dispose();
      const before = await filesOf(folder);
      const settings = [
        `model.model_name_or_path=${JSON.stringify(`${folder}/model`)}`,
        "model.initialize_from_config=false",
        "training.per_device_train_batch_size=8",
        "training.lr_mp=2e-4",
        "training.lr_vision_backbone=0",
        "training.lr_language_backbone=1e-4",
        "dataset.train_data_path=builtin:shapes",
      ];
      const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: [
          ...["run", "-A", "--quiet", entry, "train", trainer, "--find-lr", "40"],
          ...["--backend", "wasm", "--output-dir", `${folder}/runs/one/`],
          ...settings.flatMap((setting) => ["--set", setting]),
        ],
        stdin: "null",
      }).output();
      const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
      assertEquals(code, 0, err);
      assertStringIncludes(out, "1.0e-7");
      // The fresh model of this test has no preferences that one rate would teach.
      const told = trainer === "sft" ? suggestionOf(out) : "no suggestion";

      const page = "runs/one_lr_finder.html";
      assertStringIncludes(err, `${folder}/${page}`);
      assertStringIncludes(await Deno.readTextFile(`${folder}/${page}`), told);
      const after = await filesOf(folder);
      assert(after.delete(page), "the page is there");
      assertEquals(after, before);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}

Deno.test("--find-lr takes a number of steps, and refuses what it cannot do", () => {
  const stepsOf = (...args: string[]) => parseTrainArguments(args).findRateSteps;
  assertEquals(stepsOf("sft"), undefined);
  assertEquals(stepsOf("sft", "--find-lr"), 100);
  assertEquals(stepsOf("dpo", "--find-lr", "300"), 300);
  const refused: readonly (readonly [args: readonly string[], text: string])[] = [
    [["sft", "--find-lr", "5"], "from 20 on"],
    [["sft", "--find-lr=many"], "from 20 on"],
    [["grpo", "--find-lr"], "sft, dpo and gkd"],
    [["sft", "--find-lr", "--resume"], "excludes --resume"],
    [["sft", "--find-lr", "--dry-run"], "excludes --dry-run"],
    [["sft", "--find-lr", "--watch"], "excludes --watch"],
  ];
  for (const [args, text] of refused) {
    assertThrows(() => parseTrainArguments(args), UsageError, text);
  }
});
