import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { parseConfig } from "../../src/config/load_config.ts";
import type { DataFacts } from "../../src/inspect/data_facts.ts";
import {
  amounts,
  pictureSize,
  shellWord,
  shortName,
  type StartModel,
  suggestConfig,
} from "../../src/inspect/suggest_config.ts";

const FACTS: DataFacts = {
  data: "my data",
  format: "vqa",
  renames: {},
  train: "train",
  evaluation: null,
  columns: ["image", "question", "answer"],
  rows: 160,
  examples: 320,
  rowsWithPictures: 160,
  mostPictures: 1,
  pictureSide: 300,
  longestTokens: 40,
  answerWords: 1,
  skipped: "",
  skippedRows: 0,
  notes: [],
  example: { question: "What's this?", picture: "my data/1.png" },
};
const LARGE: StartModel = { name: "org/model", trainsWhole: false, isSmolVlm: true };
const SMALL: StartModel = { name: "output/run/final_model", trainsWhole: true, isSmolVlm: false };

const suggested = (facts: Partial<DataFacts>, model: StartModel | null = null) =>
  suggestConfig({ ...FACTS, ...facts }, { model, file: "a.yaml", name: "mine" });

Deno.test("every suggested config is one that train takes, without a warning", () => {
  const splits = [{ evaluation: null }, { evaluation: "test", train: "all" }];
  for (const format of ["vqa", "preference", "grpo"] as const) {
    for (const model of [null, LARGE, SMALL]) {
      for (const split of splits) {
        for (const pictureSide of [null, 40, 90, 2000]) {
          const { yaml, trainer } = suggested({ format, pictureSide, ...split }, model);
          const warnings: string[] = [];
          const config = parseConfig(yaml, {
            trainingType: trainer,
            onWarning: (text) => warnings.push(text),
          });
          assertEquals(warnings, []);
          assertEquals(config.dataset.train_split, split.train ?? "train");
          assertEquals(config.dataset.eval_split, split.evaluation ?? config.dataset.eval_split);
          assertEquals(config.model.use_lora, model === LARGE);
        }
      }
    }
  }
});

Deno.test("a suggested config never trains on a slice", () => {
  for (const model of [null, LARGE, SMALL]) {
    assert(!/train_split:.*\[/.test(suggested({}, model).yaml));
  }
});

Deno.test("a config for questions splits turns, renames columns and measures answers", () => {
  const { yaml } = suggested({ renames: { problem: "question" }, answerWords: 30 });
  assertStringIncludes(yaml, "split_turns: true");
  assertStringIncludes(yaml, "rename_columns: { problem: question }");
  assertStringIncludes(yaml, "eval_metrics: [token_f1]");
});

Deno.test("rows without an answer column get a reward module to write", () => {
  assertEquals(suggested({ format: "grpo" }).needsReward, false);
  const { yaml, needsReward } = suggested({ format: "grpo", columns: ["prompt"] }, LARGE);
  assertEquals(needsReward, true);
  assertStringIncludes(yaml, "reward_functions_fn: ./my_reward.ts");
});

Deno.test("the next commands are quoted for the shell, with a question and a picture of the data", () => {
  assertEquals(suggested({}).next, [
    "deno task train sft --config a.yaml --dry-run",
    "deno task train sft --config a.yaml",
    "deno task generate --model ./output/mine_sft --image 'my data/1.png' " +
    "--prompt 'What'\\''s this?'",
  ]);
  assertEquals(shellWord("a b;c"), "'a b;c'");
});

Deno.test("amounts() of 128 questions make 320 steps, and a large model gets 3 epochs", () => {
  assertEquals(amounts(128, "vqa", true), { batch: 16, accumulation: 1, epochs: 40, steps: 320 });
  assertEquals(amounts(30_000, "vqa", true).epochs, 3);
  assertEquals(amounts(128, "vqa", false), { batch: 1, accumulation: 8, epochs: 3, steps: 48 });
  assertEquals(amounts(3, "vqa", false).accumulation, 2);
  assertEquals(amounts(500, "grpo", false).epochs, 1);
});

Deno.test("pictureSize() and shortName() follow the data", () => {
  assertEquals([null, 40, 90, 2000].map(pictureSize), [32, 32, 64, 128]);
  assertEquals(
    ["a/b c.jsonl", "./x/", "org/name.v2", "d.csv.gz", "/"].map(shortName),
    ["b_c", "x", "name_v2", "d", "data"],
  );
  assertMatch(suggested({}).outputDir, /mine_sft$/);
});
