/** Tokens of an environment in the passes: no loss, pictures where they were shown. */
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../../../../src/device/read_back.ts";
import { countBatch } from "../../../../src/losses/grpo.ts";
import type { ProcessedImage } from "../../../../src/image/image_processor.ts";
import { joinRows, packBranches } from "../../../../src/model/branches.ts";
import { RandomStream } from "../../../../src/random.ts";
import { exampleParts } from "../../../../src/train/batches/example_parts.ts";
import { GradientAccumulator } from "../../../../src/train/loop/gradients.ts";
import { MeanMetrics } from "../../../../src/train/grpo/mean_metrics.ts";
import { CompletionGrid } from "../../../../src/train/grpo/policy.ts";
import { GRPOPasses } from "../../../../src/train/grpo/passes.ts";
import { GRPOPromptMaker } from "../../../../src/train/grpo/prompts.ts";
import { EpisodePictures } from "../../../../src/train/grpo/episodes/episode_pictures.ts";
import type { RolloutGroup, RolloutSequence } from "../../../../src/train/grpo/rollout.ts";
import { largestDifference, shapeRows, tinyConfig, type TinyRun, tinyRun } from "../tiny_grpo.ts";

/** Two prompts about a picture, three made-up episodes of each: one, two and three turns. */
async function episodeGroups({ prepared }: TinyRun): Promise<RolloutGroup[]> {
  const parts = exampleParts(prepared, 0);
  const maker = new GRPOPromptMaker(parts, 64);
  const pictures = new EpisodePictures(parts.tiles);
  const random = new RandomStream(5, "episodes");
  const ids = (count: number) => Array.from({ length: count }, () => 70 + random.nextInt(400));
  const groups: RolloutGroup[] = [];
  for (const [g, row] of shapeRows(2).slice(0, 2).entries()) {
    const [bytes] = row.images as Uint8Array[];
    const example = {
      images: [{ bytes, name: "picture" }],
      prompt: [{ role: "user" as const, content: String(row.prompt) }],
      conversational: false,
      columns: {},
    };
    const prompt = await maker.make({ example }, null, { epoch: 0, index: g });
    const sequences: RolloutSequence[] = [];
    for (const replies of [0, 1, 2]) {
      const tokens = ids(3), chosen = [true, true, true];
      const files: Uint8Array[] = [];
      for (let reply = 0; reply < replies; reply++) {
        files.push(await pictures.encode({ image: 0, crop: [4 * reply, 0, 20, 24] }, [bytes]));
        const said = parts.builder.buildReply("user", "what?", [[1, 1]]), own = ids(2 + replies);
        tokens.push(...said, ...own);
        chosen.push(...said.map(() => false), ...own.map(() => true));
      }
      const images: ProcessedImage[] = await pictures.tilesOf(files);
      sequences.push({
        ...{ tokens, chosen },
        truncated: false,
        advantage: [1, -0.5, 0.75][replies] * (g + 1),
        logProbs: chosen.map((own) => own ? -6 - random.nextFloat() : 0),
        refLogProbs: null,
        pictures: files.map((file, i) => ({ bytes: file, image: images[i] })),
      });
    }
    groups.push({ prompt, sequences });
  }
  return groups;
}

const passesOf = ({ prepared: { model } }: TinyRun, sharePrefix: boolean) =>
  new GRPOPasses(model, {
    temperature: 1,
    maskTruncatedCompletions: false,
    sharePrefix,
    gradientCheckpointing: false,
  });

/** Loss and gradients of groups; ratios are 1 if they are on the policy. */
async function gradientsOf(
  run: TinyRun,
  groups: readonly RolloutGroup[],
  { sharePrefix = true, onPolicy = true } = {},
) {
  const passes = passesOf(run, sharePrefix);
  const accumulator = new GradientAccumulator();
  const micro = passes.prepare({ groups, sampledAtStep: 0, onPolicy }, undefined);
  const done = await passes.addGradients(
    micro,
    { accumulator, parameters: run.optimizer.parameters, step: 0 },
    {
      lossType: "grpo",
      epsilon: 100,
      maxCompletionLength: 60,
      wholeBatch: countBatch(micro.grid.mask, micro.grid.sequences.length),
    },
    null,
    new MeanMetrics(),
  );
  done.loss?.dispose();
  const names = [...accumulator.gradients.keys()];
  const values = await readBack([...accumulator.gradients.values()]);
  accumulator.reset();
  return new Map(names.map((name, i) => [name, values[i] as Float32Array]));
}

/** −Σ_i A_i · mean over the chosen tokens of log π, / N, out of one plain pass a sequence. */
async function plainLoss({ prepared: { model } }: TinyRun, groups: readonly RolloutGroup[]) {
  let loss = 0, count = 0;
  for (const { prompt, sequences } of groups) {
    for (const { tokens, chosen, pictures, advantage } of sequences) {
      const row = packBranches(
        [{
          inputIds: [...prompt.ids, ...tokens.slice(0, -1)],
          // Every token is labelled, those of the environment too.
          labels: [...prompt.ids.slice(1).map(() => -100), ...tokens],
        }],
        [...prompt.images, ...pictures!.map(({ image }) => image)],
        model.imageTokenId,
      )!;
      const batch = joinRows([row], model.config);
      const tensor = tf.tidy(() => model.labelLogProbs(batch, {}, undefined, 1)!);
      const values = await tensor.data();
      tensor.dispose();
      batch.dispose();
      const own = [...values].filter((_, t) => chosen![t]);
      loss -= advantage * own.reduce((sum, value) => sum + value, 0) / own.length;
      count++;
    }
  }
  return loss / count;
}

Deno.test("the gradient of episodes is that of the mean over the model's own tokens, by finite differences", async () => {
  using run = await tinyRun(tinyConfig());
  const groups = await episodeGroups(run);
  const gradients = await gradientsOf(run, groups);
  const { parameters } = run.optimizer;
  const norm = Math.sqrt(
    [...gradients.values()].reduce((sum, g) => sum + g.reduce((own, v) => own + v * v, 0), 0),
  );
  const move = (by: number) => {
    for (const [name, parameter] of parameters) {
      const gradient = gradients.get(name);
      if (gradient === undefined) continue;
      tf.tidy(() => {
        const direction = tf.tensor(gradient, parameter.shape).mul(by / norm);
        parameter.assign(parameter.add(direction));
      });
    }
  };
  const step = 5e-3;
  move(step);
  const above = await plainLoss(run, groups);
  move(-2 * step);
  const below = await plainLoss(run, groups);
  const slope = (above - below) / (2 * step);
  assert(norm > 0.1, "there is a gradient");
  assertAlmostEquals(slope, norm, 0.02 * norm);
});

Deno.test("nothing depends on what is stored for tokens of the environment", async () => {
  using run = await tinyRun(tinyConfig());
  const groups = await episodeGroups(run);
  const options = { onPolicy: false };
  const before = await gradientsOf(run, groups, options);
  const changed = groups.map(({ prompt, sequences }) => ({
    prompt,
    sequences: sequences.map((one) => ({
      ...one,
      logProbs: one.logProbs.map((value, t) => one.chosen![t] ? value : -99),
    })),
  }));
  assertEquals(await gradientsOf(run, changed, options), before);
  const all = groups.map(({ prompt, sequences }) => ({
    prompt,
    sequences: sequences.map((one) => ({ ...one, chosen: null })),
  }));
  const counted = await gradientsOf(run, all, options);
  assert(largestDifference(counted, before) > 1e-2, "it would, if they counted");
});

Deno.test("episodes with pictures of their own share their prompt, with the gradient of separate rows", async () => {
  using run = await tinyRun(tinyConfig());
  const groups = await episodeGroups(run);
  const shared = await gradientsOf(run, groups);
  const apart = await gradientsOf(run, groups, { sharePrefix: false });
  assert(largestDifference(shared, apart) < 1e-4);
  const swapped = groups.map(({ prompt, sequences }) => ({
    prompt,
    sequences: sequences.map((one) => ({ ...one, pictures: one.pictures?.toReversed() })),
  }));
  assert(largestDifference(await gradientsOf(run, swapped), shared) > 1e-4, "pictures matter");
});

Deno.test("CompletionGrid leaves out tokens of the environment", async () => {
  using run = await tinyRun(tinyConfig());
  const [{ sequences }] = await episodeGroups(run);
  const groups = await episodeGroups(run);
  const grid = new CompletionGrid(groups, false);
  sequences.forEach(({ tokens, chosen }, i) => {
    const mask = [...grid.mask.subarray(i * grid.tokens, i * grid.tokens + tokens.length)];
    assertEquals(mask, chosen!.map(Number));
  });
});
