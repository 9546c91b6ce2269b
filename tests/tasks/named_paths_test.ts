import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { parseConfig } from "../../src/config/load_config.ts";
import { checkNamedPaths, namesOfConfig } from "../../tasks/named_paths.ts";
import { UsageError } from "../../tasks/usage_error.ts";

Deno.test("a missing path is a usage error, in the command line and in the config; a possible Hub id is not", async () => {
  const root = await Deno.makeTempDir();
  const file = `${root}/file.jsonl`, none = `${root}/none`;
  try {
    await Deno.writeTextFile(file, "{}\n");
    await checkNamedPaths([
      ["--model", "model", root],
      ["--model", "model", "owner/name@revision"],
      ["--model", "model", "builtin:shapes"],
      ["--data", "data", file],
      ["--data", "data", root],
      ["--data", "data", "name"],
      ["--data", "data", "builtin:shapes"],
      ["--image", "file", file],
      ["--reward", "module", file],
      ["--reward", "module", "builtin:accuracy"],
      ["--reward", "module", "https://example.org/reward.ts"],
      ["DIR", "folder", root],
    ]);
    for (
      const [kind, name, says] of [
        ["model", none, "there is no such folder"],
        ["model", file, "there is no such folder"],
        ["data", none, "there is no such file or folder"],
        ["data", "none.jsonl", "there is no such file or folder"],
        ["file", `${file}/below`, "there is no such file"],
        ["file", root, "there is no such file"],
        ["module", "none.ts", "there is no such file"],
        ["folder", none, "there is no such folder"],
      ] as const
    ) {
      const error = await assertRejects(() => checkNamedPaths([["--by", kind, name]]), UsageError);
      assertEquals(error.message.includes(`--by: ${name}: ${says}`), true, error.message);
    }
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});

Deno.test("a mistyped path is no Hub id: its folder is there, or a near name is", async () => {
  const root = await Deno.makeTempDir();
  const before = Deno.cwd();
  try {
    await Deno.mkdir(`${root}/data/charts`, { recursive: true });
    await Deno.writeTextFile(`${root}/receipts`, "");
    Deno.chdir(root);
    const fault = async (name: string) =>
      (await assertRejects(() => checkNamedPaths([["--data", "data", name]]), UsageError)).message;
    assertStringIncludes(await fault("data/chart"), "did you mean data/charts?");
    assertStringIncludes(await fault("data/else"), "data has charts");
    assertStringIncludes(await fault("reciepts"), "did you mean receipts?");
    await checkNamedPaths([["--data", "data", "org/charts"], ["--data", "data", "squad"]]);
  } finally {
    Deno.chdir(before);
    await Deno.remove(root, { recursive: true });
  }
});

Deno.test("namesOfConfig() has every path that a run would open, and no other", () => {
  const keys = (type: "sft" | "dpo" | "grpo" | "gkd", ...overrides: string[]) =>
    namesOfConfig(
      parseConfig("", {
        trainingType: type,
        overrides: [
          "dataset.train_data_path=./train",
          "dataset.eval_data_path=./eval",
          "model.model_name_or_path=./model",
          `dataset.dataset_format=${
            { sft: "vqa", dpo: "preference", grpo: "grpo", gkd: "vqa" }[type]
          }`,
          ...overrides,
        ],
      }),
    ).map(([by, , name]) => `${by} ${name}`).sort();
  const common = ["dataset.eval_data_path ./eval", "dataset.train_data_path ./train"];
  const evaluated = "training.eval_strategy=steps";
  const model = "model.model_name_or_path ./model";
  assertEquals(keys("sft", evaluated), [...common, model]);
  assertEquals(keys("sft", "training.eval_strategy=no"), [common[1], model]);
  assertEquals(
    keys("dpo", evaluated, "dpo.ref_model_name_or_path=./ref"),
    [...common, "dpo.ref_model_name_or_path ./ref", model].sort(),
  );
  assertEquals(
    keys("gkd", evaluated, "gkd.teacher_model_name_or_path=./teacher"),
    [...common, "gkd.teacher_model_name_or_path ./teacher", model].sort(),
  );
  assertEquals(
    keys(
      "grpo",
      evaluated,
      "dataset.reward_functions_fn=[./a.ts]",
      "dataset.preprocessing_fn=b.ts",
    ),
    [...common, "dataset.preprocessing_fn b.ts", "dataset.reward_functions_fn ./a.ts", model]
      .sort(),
  );
  assertEquals(
    keys(
      "sft",
      evaluated,
      "model.model_name_or_path=initialize",
      "model.load_backbone=true",
      "model.vlm_config.lm_tokenizer=./tokenizer",
      "model.vlm_config.lm_model_type=./llama",
    ),
    [
      ...common,
      "model.vlm_config.lm_model_type ./llama",
      "model.vlm_config.lm_tokenizer ./tokenizer",
    ],
  );
});
