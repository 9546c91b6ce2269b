/** Episodes with a scripted model. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { encodePng } from "../../../../src/data/embedded/embedded_shapes_png.ts";
import { decodeImage } from "../../../../src/image/decode_image.ts";
import type { Environment } from "../../../../src/rewards/environment/environment_sandbox.ts";
import { answerEnds } from "../../../../src/text/answer_end.ts";
import { exampleParts } from "../../../../src/train/batches/example_parts.ts";
import { EpisodePictures } from "../../../../src/train/grpo/episodes/episode_pictures.ts";
import { EpisodeSampler } from "../../../../src/train/grpo/episodes/episode_sampler.ts";
import { GRPOPromptMaker } from "../../../../src/train/grpo/prompts.ts";
import {
  type Completion,
  CompletionSampler,
  type ContinueRequest,
  samplingSettings,
} from "../../../../src/train/grpo/sampling.ts";
import { tinyConfig, type TinyRun, tinyRun } from "../tiny_grpo.ts";
import { environmentOf, episodeRun, halfPicture, type Reply } from "./ending_model.ts";

const MAX = 60;

/** Prompts about a picture of 6 x 4 pixels, each its own red. */
async function prompts({ prepared }: TinyRun, count: number) {
  const parts = exampleParts(prepared, 0);
  const maker = new GRPOPromptMaker(parts, 64);
  const pictures = Array.from({ length: count }, (_, p) => {
    const data = Uint8Array.from({ length: 6 * 4 * 3 }, (_, i) => i % 3 === 0 ? 10 * p + i / 3 : 7);
    return encodePng({ width: 6, height: 4, data });
  });
  const made = await Promise.all(pictures.map((bytes) =>
    maker.make(
      {
        example: {
          images: [{ bytes, name: "picture" }],
          prompt: [{ role: "user", content: "What shape is it?" }],
          conversational: false,
          columns: {},
        },
      },
      null,
      null,
    )
  ));
  return { parts, prompts: made };
}

/** Plays one episode of a model that says these texts, the last one again and again. */
async function play(
  run: TinyRun,
  texts: readonly string[],
  environment: Environment,
  { maxTurns = 3, ends = true } = {},
) {
  const { tokenizer } = run.prepared;
  const { parts, prompts: [prompt] } = await prompts(run, 1);
  const requests: ContinueRequest[] = [];
  const sampler = {
    settings: { ...samplingSettings(tinyConfig().grpo, 1), maxCompletionLength: MAX },
    continue(request: ContinueRequest) {
      const text = texts[Math.min(requests.length, texts.length - 1)];
      requests.push(request);
      const tokens = [
        ...tokenizer.encode(text),
        ...(ends ? [answerEnds(tokenizer).trained] : []),
      ];
      const completion: Completion = {
        ...{ tokens, text, finishReason: ends ? "eos" : "length" },
        logProbs: tokens.map((_, t) => -1 - t),
        filteredLogProbs: tokens.map(() => -1),
      };
      return Promise.resolve({ completions: [completion], prefillSeconds: 0, decodeSeconds: 0 });
    },
  };
  const pictures = new EpisodePictures(parts.tiles);
  const episodes = new EpisodeSampler(
    { sampler, environment, builder: parts.builder, pictures },
    maxTurns,
  );
  const request = { prompts: [prompt], numGenerations: 1, promptsAtOnce: 1, firstId: 9 };
  const { completions: [completion] } = await episodes.sample(request);
  return { completion, episode: completion.episode!, requests, prompt, parts, tokenizer };
}

Deno.test("the tokens of an episode are those that the chat template gives its conversation", async () => {
  using run = await tinyRun(tinyConfig());
  const { completion, episode, requests, prompt, parts } = await play(
    run,
    ["look left", "no", "star"],
    environmentOf(({ turn, images }) => ({
      ...(turn === 1
        ? { images: [{ image: 0, crop: [0, 0, 2, 2] }] }
        : { text: "Name the shape." }),
      state: images.length,
    })),
  );
  const whole = parts.builder.build(
    [
      { role: "user", content: "What shape is it?", pictures: [0] },
      { role: "assistant", content: "look left" },
      { role: "user", content: "", pictures: [0] },
      { role: "assistant", content: "no" },
      { role: "user", content: "Name the shape." },
      { role: "assistant", content: "star" },
    ],
    [[1, 1], [1, 1]],
  );
  // The template's newline after the last end token is not part of the completion.
  assertEquals([...prompt.ids, ...completion.tokens], whole.inputIds.slice(0, -1));
  const own = completion.tokens.filter((_, t) => episode.chosen[t]);
  const { tokenizer } = run.prepared;
  assertEquals(tokenizer.decode(own), "look left<|im_end|>no<|im_end|>star<|im_end|>");
  assertEquals(
    completion.logProbs.map((value) => value === 0),
    episode.chosen.map((chosen) => !chosen),
  );
  assertEquals(episode.turns, 3);
  assertEquals(completion.text, "star");
  assertEquals(episode.state, 2, "the state of the last call, which was after the last turn");
  // Each turn goes on where the one before ended.
  assertEquals(requests[1].prompts[0].ids.length, prompt.ids.length + requests[1].firstPlaces![0]);
  assertEquals(requests[1].prompts[0].images.length, 2);
  assertEquals(requests.map(({ sequenceIds }) => sequenceIds), [[9], [9], [9]]);
});

Deno.test("a crop shows the pixels of the original picture", async () => {
  using run = await tinyRun(tinyConfig());
  const { episode } = await play(
    run,
    ["a"],
    environmentOf(({ turn }) =>
      turn === 1
        ? { images: [{ image: 0, crop: [4, 1, 99, 3] }] }
        : { images: [{ image: 1, crop: [1, 0, 2, 1] }] }
    ),
  );
  const [first, second] = await Promise.all(episode.pictures.map((bytes) => decodeImage(bytes)));
  assertEquals([first.width, first.height], [2, 2], "cut at the picture's edge");
  const reds = [...first.data].filter((_, i) => i % 3 === 0);
  assertEquals(reds, [10, 11, 16, 17]);
  assertEquals([...second.data], [11, 7, 7], "a crop of the crop");
});

for (
  const [what, reply, note, failed] of [
    [
      "crops a picture that is not there",
      { images: [{ image: 3, crop: [0, 0, 1, 1] }] },
      "picture 3",
      true,
    ],
    ["crops nothing", { images: [{ image: 0, crop: [9, 9, 20, 20] }] }, "nothing of it", true],
    ["gives bytes that are no picture", { images: [new Uint8Array(40)] }, "cannot be shown", true],
    ["says too much", { text: "What shape is it? ".repeat(20) }, "does not fit", false],
    ["says very much", { text: "x".repeat(100_000) }, "100000 characters does not fit", false],
  ] as const
) {
  Deno.test(`an environment that ${what} ends the episode with a note`, async () => {
    using run = await tinyRun(tinyConfig());
    const environment = environmentOf(() => reply as ReturnType<Reply>);
    const { completion, episode } = await play(run, ["look left"], environment);
    assertStringIncludes(episode.note!, note);
    assertEquals(episode.failed, failed);
    assertEquals(completion.finishReason, failed ? "eos" : "length");
    assert(episode.chosen.every(Boolean), "it ends with the model's turn");
    assertEquals(episode.messages.length, 1);
  });
}

Deno.test("an episode whose reset or step failed is marked, after a turn of the model", async () => {
  using run = await tinyRun(tinyConfig());
  const works = environmentOf(() => ({ text: "go on" }));
  const broken = { error: "Cannot go on" };
  const reset = await play(run, ["a"], { ...works, reset: () => Promise.resolve([broken]) });
  assertEquals(reset.episode.note, "the environment's reset failed: Cannot go on");
  const step = await play(run, ["a"], { ...works, step: () => Promise.resolve([broken]) });
  assertEquals(step.episode.note, "the environment's step failed: Cannot go on");
  for (const { episode, completion } of [reset, step]) {
    assert(episode.failed && episode.turns === 1 && completion.tokens.length > 0);
  }
});

Deno.test("an episode ends when the environment says so, at max_turns, or when its room is used up", async () => {
  using run = await tinyRun(tinyConfig());
  const asked: (readonly [number, number])[] = [];
  const counting = (done: (turn: number) => boolean) =>
    environmentOf(({ turn, turnsLeft }) => {
      asked.push([turn, turnsLeft]);
      return done(turn) ? { done: true } : { text: "a" };
    });
  assertEquals((await play(run, ["a"], counting((turn) => turn === 2))).episode.turns, 2);
  assertEquals((await play(run, ["a"], counting(() => false))).episode.turns, 3);
  assertEquals(asked, [[1, 2], [2, 1], [1, 2], [2, 1], [3, 0]]);
  const cut = await play(run, ["a"], counting(() => false), { ends: false });
  assertEquals([cut.episode.turns, cut.completion.finishReason], [1, "length"]);
  assertEquals(asked.length, 5, "the environment is not asked about a turn that was cut");
});

Deno.test("the same episodes come out of any batch", async () => {
  using run = await episodeRun();
  const { parts, prompts: asked } = await prompts(run, 3);
  const { grpo } = tinyConfig([`grpo.max_completion_length=${MAX}`]);
  const sampler = new CompletionSampler(run.prepared, samplingSettings(grpo, 3));
  const sampled = async (promptsAtOnce: number) => {
    const pictures = new EpisodePictures(parts.tiles);
    const environment = environmentOf(halfPicture);
    const episodes = new EpisodeSampler(
      { sampler, environment, builder: parts.builder, pictures },
      3,
    );
    const request = { prompts: asked, numGenerations: 2, promptsAtOnce, firstId: 4 };
    const { completions } = await episodes.sample(request);
    assert(completions.every(({ tokens }) => tokens.length <= MAX));
    return completions.map(({ tokens, episode }) => ({ tokens, messages: episode!.messages }));
  };
  const together = await sampled(3);
  assertEquals(await sampled(1), together);
  assert(new Set(together.map(({ tokens }) => tokens.join())).size > 1, "they differ");
});
