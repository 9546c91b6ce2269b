/**
 * Replays `losses/dpo_forward.json` and `losses/grpo_forward.json`: log-probabilities of given
 * answers through the model, each sequence alone, and the gradients of a DPO loss of them.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../../device/read_back.ts";
import { IGNORED_LABEL } from "../../ignored_label.ts";
import { dpoLoss } from "../../losses/dpo.ts";
import { toModelBatch } from "../../model/batch.ts";
import { readSafetensors } from "../../model/safetensors/safetensors.ts";
import type { VisionLanguageModel } from "../../generate/vision_language_model.ts";
import type { PassOptions } from "../../model/vlm.ts";
import { adapterParameters } from "../../train/optimizer/parameter_groups.ts";
import { compareNumbers } from "../compare_numbers.ts";
import { readFixtureJson } from "./exact_case.ts";
import { deviceTensor, exists, type Fixture, fixtureModel } from "../fixture_model.ts";
import { applyFixtureAdapter } from "./lora_cases.ts";
import { compareGradients, lossAndGradients } from "./model_cases.ts";
import type { ParityResult } from "../result.ts";

const LOG_PROB = { absolute: 2e-4 };
const LOSS = { relative: 1e-4 };

interface Pair {
  prompt_input_ids: number[];
  chosen_input_ids: number[];
  rejected_input_ids: number[];
  images: string | null;
}

interface DpoForward {
  pairs: Pair[];
  canonical: {
    chosen_logps: number[];
    rejected_logps: number[];
    ref_chosen_logps: number[];
    ref_rejected_logps: number[];
    chosen_per_token_logps: number[][];
    rejected_per_token_logps: number[][];
    /** The name tells β: `sigmoid_beta_0_1`. */
    [loss: `sigmoid_beta_${string}`]: {
      losses: number[];
      loss: number;
      chosen_rewards: number[];
      rejected_rewards: number[];
      grad_norm: number;
    };
  };
}

interface GrpoForward {
  temperature: number;
  num_generations: number;
  prompts: number[][];
  images: (string | null)[];
  completions: number[][];
  canonical: { per_token_logps: number[][]; entropies?: number[][] };
}

/** A prompt, an answer to it, and the name of the prompt's tiles in the fixture. */
interface Sequence {
  prompt: number[];
  answer: number[];
  images: string | null;
}

/** The model's inputs for one sequence, unpadded: every token of the answer is a label. */
function inputsOf({ prompt, answer, images }: Sequence, fixture: Fixture) {
  const ids = [...prompt, ...answer];
  const labels = ids.map((_, i) =>
    i + 1 >= prompt.length ? ids[i + 1] ?? IGNORED_LABEL : IGNORED_LABEL
  );
  const tiles = images !== null && fixture.has(images) ? deviceTensor(fixture, images) : null;
  return { inputIds: [ids], labels: [labels], images: tiles };
}

/** Log-probabilities of a sequence's answer, token by token, on the device; inside a tidy. */
function answerLogProbs(
  model: VisionLanguageModel,
  sequence: Sequence,
  fixture: Fixture,
  options: PassOptions = {},
  temperature = 1,
): tf.Tensor1D {
  const batch = toModelBatch(inputsOf(sequence, fixture), model.config);
  const logProbs = model.labelLogProbs(batch, options, undefined, temperature);
  if (logProbs === null) throw new Error("The recorded answer has no tokens");
  return logProbs;
}

/** The same on the host, for many sequences. */
async function readLogProbs(compute: () => tf.Tensor1D[]): Promise<Float32Array[]> {
  const tensors = tf.tidy(compute);
  const values = await readBack(tensors);
  tf.dispose(tensors);
  return values as Float32Array[];
}

const sum = (values: Float32Array): number => values.reduce((total, value) => total + value, 0);

async function replayDpo(
  model: VisionLanguageModel,
  name: string,
  key: string,
  recorded: DpoForward,
  fixture: Fixture,
): Promise<ParityResult[]> {
  const { pairs, canonical } = recorded;
  const sequences = pairs.flatMap((pair): Sequence[] => [
    { prompt: pair.prompt_input_ids, answer: pair.chosen_input_ids, images: pair.images },
    { prompt: pair.prompt_input_ids, answer: pair.rejected_input_ids, images: pair.images },
  ]);
  const run = (options: PassOptions) => () =>
    sequences.map((sequence) => answerLogProbs(model, sequence, fixture, options));
  const policy = await readLogProbs(run({}));
  const reference = await readLogProbs(run({ withoutAdapters: true }));
  const chosen = (of: Float32Array[]) => of.filter((_, i) => i % 2 === 0);
  const rejected = (of: Float32Array[]) => of.filter((_, i) => i % 2 === 1);
  const results = [
    compareNumbers(
      name,
      "log-probs of tokens",
      policy.flatMap((row) => [...row]),
      pairs.flatMap((_, i) => [
        ...canonical.chosen_per_token_logps[i],
        ...canonical.rejected_per_token_logps[i],
      ]),
      LOG_PROB,
    ),
  ];
  const sums: [string, Float32Array[], number[]][] = [
    ["chosen log-probs", chosen(policy), canonical.chosen_logps],
    ["rejected log-probs", rejected(policy), canonical.rejected_logps],
    ["reference chosen log-probs", chosen(reference), canonical.ref_chosen_logps],
    ["reference rejected log-probs", rejected(reference), canonical.ref_rejected_logps],
  ];
  for (const [quantity, rows, expected] of sums) {
    // Each is the sum of as many errors as it has tokens.
    const tokens = Math.max(...rows.map((row) => row.length));
    const tolerance = { absolute: LOG_PROB.absolute * tokens };
    results.push(compareNumbers(name, quantity, rows.map(sum), expected, tolerance));
  }
  for (const [loss, expected] of Object.entries(canonical)) {
    const beta = /^sigmoid_beta_(\d+)_(\d+)$/.exec(loss);
    if (beta === null || Array.isArray(expected) || typeof expected === "string") continue;
    const result = dpoLoss({
      chosenLogProbs: chosen(policy).map(sum),
      rejectedLogProbs: rejected(policy).map(sum),
      refChosenLogProbs: chosen(reference).map(sum),
      refRejectedLogProbs: rejected(reference).map(sum),
      chosenLengths: chosen(policy).map((row) => row.length),
      rejectedLengths: rejected(policy).map((row) => row.length),
    }, { lossTypes: ["sigmoid"], beta: Number(`${beta[1]}.${beta[2]}`) });
    results.push(
      compareNumbers(name, "loss", [result.loss], [expected.loss], LOSS),
      compareNumbers(name, "losses", result.losses ?? [], expected.losses, LOSS),
      compareNumbers(name, "chosen rewards", result.chosenRewards, expected.chosen_rewards, {
        absolute: LOG_PROB.absolute,
      }),
      compareNumbers(name, "rejected rewards", result.rejectedRewards, expected.rejected_rewards, {
        absolute: LOG_PROB.absolute,
      }),
    );
    const parameters = adapterParameters(model);
    // d loss / d log-prob is known, so that a weighted sum of the log-probs has the loss's gradient.
    const { gradients } = await lossAndGradients(() => {
      const parts = sequences.map((sequence, i) => {
        const weights = i % 2 === 0 ? result.gradChosenLogProbs : result.gradRejectedLogProbs;
        return answerLogProbs(model, sequence, fixture).sum().mul(weights[Math.floor(i / 2)]);
      });
      return tf.addN(parts) as tf.Scalar;
    }, parameters);
    let squares = 0;
    for (const gradient of gradients.values()) {
      for (const value of gradient) squares += value * value;
    }
    results.push(
      compareNumbers(
        name,
        "norm of the gradient",
        [Math.sqrt(squares)],
        [expected.grad_norm],
        LOSS,
      ),
    );
    const prefix = `dpo.${key}.`;
    const own: Fixture = new Map(
      [...fixture].filter(([tensor]) => tensor.startsWith(`${prefix}grad.`))
        .map(([tensor, value]) => [tensor.slice(prefix.length), value]),
    );
    results.push(...compareGradients(name, own, gradients));
  }
  return results;
}

/** Entropy of softmax(logits / temperature), in nats. */
function entropy(logits: Float32Array, temperature: number): number {
  const largest = logits.reduce((a, b) => Math.max(a, b), -Infinity) / temperature;
  let total = 0, weighted = 0;
  for (const logit of logits) {
    const shifted = logit / temperature - largest;
    total += Math.exp(shifted);
    weighted += shifted * Math.exp(shifted);
  }
  return Math.log(total) - weighted / total;
}

async function replayGrpo(
  model: VisionLanguageModel,
  recorded: GrpoForward,
  fixture: Fixture,
): Promise<ParityResult[]> {
  const name = "losses/grpo_forward";
  const sequences = recorded.completions.map((answer, i): Sequence => {
    const prompt = Math.floor(i / recorded.num_generations);
    return { prompt: recorded.prompts[prompt], answer, images: recorded.images[prompt] };
  });
  const { temperature, canonical } = recorded;
  const logProbs = await readLogProbs(() =>
    sequences.map((sequence) => answerLogProbs(model, sequence, fixture, {}, temperature))
  );
  const results = [compareNumbers(
    name,
    "log-probs of tokens",
    logProbs.flatMap((row) => [...row]),
    canonical.per_token_logps.flat(),
    LOG_PROB,
  )];
  if (canonical.entropies === undefined) return results;
  const entropies: number[] = [];
  for (const sequence of sequences) {
    const { images, labels: _, ...inputs } = inputsOf(sequence, fixture);
    const { logits } = model.forward({ ...inputs, images, returnLogits: true });
    if (logits === null) throw new Error("The model returned no logits");
    const [values] = await readBack([logits]);
    tf.dispose(images === null ? [logits] : [logits, images]);
    const V = model.config.lm_vocab_size;
    const first = sequence.prompt.length - 1;
    sequence.answer.forEach((_, i) => {
      const row = values.subarray((first + i) * V, (first + i + 1) * V) as Float32Array;
      entropies.push(entropy(row, temperature));
    });
  }
  results.push(
    compareNumbers(name, "entropies", entropies, canonical.entropies.flat(), LOG_PROB),
  );
  return results;
}

/**
 * Replays the losses through the model on the current backend.
 *
 * @param directory the fixtures folder
 */
export async function replayModelLossesCases(directory: string): Promise<ParityResult[]> {
  const folder = `${directory}/losses`;
  const fixture = await readSafetensors(`${folder}/model_losses.safetensors`);
  const results: ParityResult[] = [];
  const grpo = await readFixtureJson<GrpoForward>(`${folder}/grpo_forward.json`);
  if (grpo !== null) {
    const model = await fixtureModel(`${directory}/model`);
    results.push(...await replayGrpo(model, grpo, fixture));
    model.dispose();
  }
  const dpo = await readFixtureJson<Record<string, DpoForward | string | number>>(
    `${folder}/dpo_forward.json`,
  );
  const adapter = /(lora\/\w+) adapter/.exec(String(dpo?.policy))?.[1];
  if (dpo !== null && adapter !== undefined && await exists(`${directory}/${adapter}`)) {
    const model = await fixtureModel(`${directory}/model`);
    await applyFixtureAdapter(model, `${directory}/${adapter}`);
    for (const [key, recorded] of Object.entries(dpo)) {
      if (typeof recorded !== "object" || !("pairs" in recorded)) continue;
      results.push(
        ...await replayDpo(model, `losses/dpo_forward/${key}`, key, recorded, fixture),
      );
    }
    model.dispose();
  }
  return results;
}
