import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { rangeTest } from "../../../src/train/lr_finder/find_learning_rate.ts";
import {
  conclusion,
  foundRateLines,
  foundRatePage,
} from "../../../src/train/lr_finder/found_rate_texts.ts";
import { tinySFT } from "../sft/tiny_sft.ts";

const SETTINGS = [
  "training.per_device_train_batch_size=8",
  "training.learning_rate=1e-3",
  "training.lr_mp=4e-3",
  "training.lr_scheduler_type=cosine",
  "training.warmup_ratio=0.5",
  "training.save_strategy=no",
];

/** The mean loss of the last ten of 40 steps at rates times a factor. */
async function lossAfter(factor: number): Promise<number> {
  await using run = await tinySFT([
    ...SETTINGS,
    "training.max_steps=40",
    "training.logging_steps=10",
    "training.lr_scheduler_type=constant",
    `training.learning_rate=${1e-3 * factor}`,
    `training.lr_mp=${4e-3 * factor}`,
  ]);
  await run.trainer.train();
  return run.metrics().at(-1)!.loss;
}

Deno.test("a range test suggests rates in the ratios of the config, with which a run learns", async () => {
  await using run = await tinySFT(SETTINGS);
  const { training } = run.config;
  const found = await rangeTest(run.method, run.groups, { training, steps: 100 });
  const { points, suggestion, keys } = found;
  assert(suggestion.rate !== null);
  assertEquals(keys.map(({ key }) => key), [
    "training.lr_mp",
    "training.lr_vision_backbone",
    "training.lr_language_backbone",
  ]);
  const [projector, vision, language] = keys.map(({ suggested }) => suggested!);
  assertAlmostEquals(projector / vision, 4, 0.2);
  assertEquals(vision, language);
  // The rate of the test is that of the group with the highest one.
  assertAlmostEquals(projector / suggestion.rate, 1, 0.06);
  assertAlmostEquals(points[0].rate, 1e-7, 1e-12);

  const factor = suggestion.rate / 4e-3;
  const [suggested, hundredth] = [await lossAfter(factor), await lossAfter(factor / 100)];
  assert(suggested < hundredth - 0.1, `${suggested} and ${hundredth}`);
  assert(Deno.readDirSync(run.folder).every(({ name }) => !name.startsWith("checkpoint")));
});

Deno.test("the first losses of a range test are those of a run that stands still", async () => {
  await using run = await tinySFT(SETTINGS);
  const found = await rangeTest(run.method, run.groups, {
    training: run.config.training,
    steps: 100,
  });
  await using still = await tinySFT([
    ...SETTINGS,
    "training.max_steps=3",
    "training.logging_steps=1",
    "training.lr_scheduler_type=constant",
    "training.learning_rate=1e-12",
    "training.lr_mp=1e-12",
  ]);
  await still.trainer.train();
  still.metrics().forEach(({ loss }, i) => assertAlmostEquals(found.points[i].loss, loss, 1e-3));
});

Deno.test("the texts say what was found, or that nothing was", async () => {
  await using run = await tinySFT(SETTINGS);
  const { training } = run.config;
  const found = await rangeTest(run.method, run.groups, { training, steps: 100 });
  const [, , suggestion] = conclusion(found);
  const [projector] = found.keys;
  assert(suggestion.includes(`--set training.lr_mp=${projector.suggested}`), suggestion);
  const lines = foundRateLines(found).join("\n");
  assert(lines.includes("1.0e-7"), lines);
  const page = foundRatePage("<SFT>", found);
  assert(page.includes("&lt;SFT&gt;") && !page.includes("<SFT>"));
  assert(!page.includes("NaN") && !page.includes("undefined"));
  assertEquals(page.match(/<circle/g)?.length, found.points.length);
  assertEquals(page.match(/<tr>/g)?.length, 2 + found.keys.length + found.points.length);

  const short = { ...found, points: found.points.slice(0, 8) };
  const nothing = {
    ...short,
    suggestion: { rate: null, steepest: null, lowestLossAt: null },
    keys: found.keys.map((key) => ({ ...key, suggested: null })),
  };
  assert(conclusion(nothing).at(-1)!.startsWith("no suggestion"));
  assert(foundRatePage("x", nothing).includes("no suggestion"));
});

Deno.test("a range test of which the signal is aborted ends with its reason", async () => {
  await using run = await tinySFT(SETTINGS);
  const controller = new AbortController();
  controller.abort(new Error("enough"));
  await assertRejects(
    () =>
      rangeTest(run.method, run.groups, {
        training: run.config.training,
        steps: 20,
        signal: controller.signal,
      }),
    Error,
    "enough",
  );
});
