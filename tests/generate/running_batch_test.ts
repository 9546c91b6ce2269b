import { assert, assertEquals, assertThrows } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { initBackend } from "../../src/device/backend.ts";
import { generateFromRows } from "../../src/generate/engine.ts";
import { type BatchSequence, RunningBatch } from "../../src/generate/running_batch.ts";
import type { ImageTiles } from "../../src/model/batch.ts";
import { IMAGE, picture, prompt, tinyModel } from "./tiny_model.ts";

/** Ends by chance after a few tokens: every sequence has another length. */
const STOPS = [7, 19, 31, 40];

interface Asked {
  readonly sequence: BatchSequence;
  readonly tokens: number[];
  reason: string;
}

function ask(
  ids: readonly number[],
  images: readonly ImageTiles[],
  options: Partial<BatchSequence> = {},
): Asked {
  const asked: Asked = {
    tokens: [],
    reason: "",
    sequence: {
      ids,
      images,
      sampling: { greedy: true },
      seed: 3,
      sequenceId: 0,
      maxNewTokens: 20,
      stopTokenIds: STOPS,
      onToken: ({ token }) => void asked.tokens.push(token),
      onEnd: (reason) => void (asked.reason = reason),
      onFail: (error) => void (asked.reason = String(error)),
      ...options,
    },
  };
  return asked;
}

const BACKENDS = ["wasm", "cpu"] as const;

for (const backend of BACKENDS) {
  Deno.test(`${backend}: sequences that enter and leave get the tokens that they get alone`, async () => {
    await initBackend({ backend });
    const model = tinyModel();
    const before = tf.memory().numTensors;
    const pictures = [picture(1), picture(2)];
    const asked = Array.from({ length: 12 }, (_, i) => {
      const images = i % 3 === 0 ? [] : [pictures[i % 2]];
      const sampling = i % 4 === 1 ? { temperature: 0.8, topK: 9 } : { greedy: true };
      return ask(prompt(i, 2 + 3 * (i % 5), images.length > 0), images, {
        sampling,
        sequenceId: 100 + i,
        maxNewTokens: 8 + 7 * (i % 4),
      });
    });
    const batch = new RunningBatch(model, { padTokenId: 0, forbidden: [IMAGE] });
    const waiting = [...asked];
    let most = 0;
    for (let step = 0; waiting.length > 0 || batch.size > 0; step++) {
      if (step % 3 === 0) {
        batch.admit(waiting.splice(0, 1 + step % 4).map(({ sequence }) => sequence));
      }
      most = Math.max(most, batch.size);
      await batch.step();
    }
    assert(most > 3, `${most} ran together`);
    for (const { sequence, tokens, reason } of asked) {
      const [alone] = await generateFromRows(
        model,
        [{ images: sequence.images, prompts: [sequence.ids] }],
        0,
        {
          ...sequence.sampling,
          maxNewTokens: sequence.maxNewTokens,
          stopTokenIds: STOPS,
          forbiddenTokenIds: [IMAGE],
          seed: sequence.seed,
          sequenceIds: [sequence.sequenceId],
        },
      );
      assertEquals([tokens, reason], [alone.tokens, alone.finishReason]);
    }
    assert(new Set(asked.map(({ reason }) => reason)).size > 1, "some end early, some do not");
    assertEquals(tf.memory().numTensors, before);
    model.dispose();
  });
}

Deno.test("a sequence that is removed leaves the others as they are, and nothing leaks", async () => {
  await initBackend({ backend: "wasm" });
  const model = tinyModel();
  const before = tf.memory().numTensors;
  const make = () => [0, 1, 2].map((i) => ask(prompt(i, 4, false), [], { stopTokenIds: [] }));
  const [whole, cut] = [make(), make()];
  for (const asked of [whole, cut]) {
    const batch = new RunningBatch(model, { padTokenId: 0, forbidden: [IMAGE] });
    batch.admit(asked.map(({ sequence }) => sequence));
    for (let step = 0; batch.size > 0; step++) {
      if (asked === cut && step === 5) batch.removeLater([asked[1].sequence]);
      await batch.step();
    }
  }
  assertEquals(cut[0].tokens, whole[0].tokens);
  assertEquals(cut[2].tokens, whole[2].tokens);
  assertEquals(cut[1].tokens, whole[1].tokens.slice(0, 5));
  assertEquals(cut[1].reason, "");
  const last = new RunningBatch(model, { padTokenId: 0, forbidden: [] });
  const only = ask(prompt(9, 4, false), []);
  last.admit([only.sequence]);
  last.removeLater([only.sequence]);
  await last.step();
  assertEquals([last.size, only.tokens.length], [0, 0]);
  assertEquals(tf.memory().numTensors, before);
  model.dispose();
});

Deno.test("a sequence without a finite logit fails alone", async () => {
  await initBackend({ backend: "wasm" });
  const model = tinyModel();
  const asked = [0, 1].map((i) =>
    ask(prompt(i, 4, false), [], { stopTokenIds: [], maxNewTokens: 4 })
  );
  const all = Array.from({ length: 63 }, (_, id) => id);
  const batch = new RunningBatch(model, { padTokenId: 0, forbidden: [IMAGE] });
  const failing = ask(prompt(5, 4, false), [], {
    onToken: () => {
      throw new RangeError("no");
    },
  });
  batch.admit([asked[0].sequence, failing.sequence, asked[1].sequence]);
  while (batch.size > 0) await batch.step();
  assertEquals(asked.map(({ tokens }) => tokens.length), [4, 4]);
  assertEquals(failing.reason, "RangeError: no");
  const none = new RunningBatch(model, { padTokenId: 0, forbidden: all });
  const forbidden = ask(prompt(5, 4, false), []);
  none.admit([forbidden.sequence]);
  await none.step();
  assert(forbidden.reason.includes("none is finite"), forbidden.reason);
  assertEquals(none.size, 0);
  model.dispose();
});

Deno.test("onToken ends a sequence, and a wrong parameter is refused before anything runs", async () => {
  await initBackend({ backend: "wasm" });
  const model = tinyModel();
  const batch = new RunningBatch(model, { padTokenId: 0, forbidden: [IMAGE] });
  let count = 0;
  const asked = ask(prompt(1, 4, false), [], { stopTokenIds: [], onToken: () => ++count === 3 });
  batch.admit([asked.sequence]);
  while (batch.size > 0) await batch.step();
  assertEquals([count, asked.reason], [3, "stop"]);
  const wrong = ask(prompt(1, 4, false), [], { sampling: { temperature: -1 } });
  assertThrows(() => batch.admit([wrong.sequence]), RangeError, "temperature");
  assertEquals(batch.size, 0);
  model.dispose();
});
