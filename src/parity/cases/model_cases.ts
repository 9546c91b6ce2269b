/**
 * Replays `model/` and `variants/`: hidden states, logits, loss and every gradient.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../../device/read_back.ts";
import { IGNORED_LABEL } from "../../ignored_label.ts";
import { toModelBatch } from "../../model/batch.ts";
import { readSafetensors } from "../../model/safetensors/safetensors.ts";
import type { VisionLanguageModel } from "../../generate/vision_language_model.ts";
import { visionTransformer } from "../../model/vision_transformer.ts";
import { lossGradients, type Parameters } from "../../train/loop/gradients.ts";
import { compareNumbers } from "../compare_numbers.ts";
import {
  deviceTensor,
  exists,
  type Fixture,
  fixtureModel,
  floats,
  forwardInputs,
  rowsWhere,
  takeRows,
  variantNames,
} from "../fixture_model.ts";
import type { ParityResult } from "../result.ts";

const HIDDEN = { relative: 1e-4, absolute: 2e-5 };
const LOGITS = { relative: 1e-4, absolute: 1e-4 };
/** Of each tensor's largest gradient. */
const GRADIENT = { relative: 1e-4, ofLargest: true };

/**
 * A gradient against its record. The key third of a ViT's `qkv_proj.bias` is left out: its exact
 * gradient is zero, so that both sides hold rounding noise.
 */
export function compareGradient(
  name: string,
  tensor: string,
  actual: Float32Array,
  expected: Float32Array,
): ParityResult {
  if (tensor.endsWith("attn.qkv_proj.bias")) {
    const third = expected.length / 3;
    const without = (values: Float32Array) =>
      Float32Array.from([...values.subarray(0, third), ...values.subarray(2 * third)]);
    return compareNumbers(
      name,
      `gradient ${tensor} (without keys)`,
      without(actual),
      without(expected),
      GRADIENT,
    );
  }
  return compareNumbers(name, `gradient ${tensor}`, actual, expected, GRADIENT);
}

/** Loss and gradients of a model's variables on a batch, on the host. */
export async function lossAndGradients(
  loss: () => tf.Scalar,
  parameters: Parameters,
): Promise<{ loss: number; gradients: Map<string, Float32Array> }> {
  const computed = lossGradients(loss, parameters);
  const tensors = [computed.loss, ...computed.gradients.values()];
  const [first, ...rest] = await readBack(tensors);
  tf.dispose(tensors);
  return {
    loss: first[0],
    gradients: new Map(
      [...computed.gradients.keys()].map((name, i) => [name, rest[i] as Float32Array]),
    ),
  };
}

/** Every `grad.*` of a fixture against the computed gradients. */
export function compareGradients(
  name: string,
  fixture: Fixture,
  gradients: Map<string, Float32Array>,
): ParityResult[] {
  return [...fixture.keys()].filter((key) => key.startsWith("grad.")).map((key) => {
    const tensor = key.slice("grad.".length);
    const actual = gradients.get(tensor) ?? new Float32Array(0);
    return compareGradient(name, tensor, actual, floats(fixture, key));
  });
}

/** The outputs of the named modules, if they were recorded. */
async function compareForward(
  name: string,
  model: VisionLanguageModel,
  inputs: ReturnType<typeof forwardInputs>,
  expected: Fixture,
): Promise<ParityResult[]> {
  const batch = toModelBatch(inputs, model.config);
  const outputs = new Map<string, tf.Tensor>();
  tf.tidy(() => {
    const hidden = model.hiddenStates(batch, {
      observe: (part, output) => outputs.set(part, tf.keep(output.clone())),
    });
    const logits = model.logits(hidden.reshape([-1, model.config.lm_hidden_dim]));
    outputs.set("logits", tf.keep(logits));
  });
  const names = [...outputs.keys()];
  const values = await readBack([...outputs.values()]);
  tf.dispose([...outputs.values()]);
  const mask = new Int32Array(batch.inputIds.length);
  (inputs.attentionMask as Int32Array[]).forEach((row, b) => mask.set(row, b * row.length));
  const attended = rowsWhere(mask, (value) => value === 1);
  const labelled = rowsWhere(batch.labels!, (value) => value !== IGNORED_LABEL);
  const results: ParityResult[] = [];
  names.forEach((part, i) => {
    const actual = values[i] as Float32Array;
    const text = part.startsWith("decoder") || part === "logits";
    const width = part === "logits" ? model.config.lm_vocab_size : model.config.lm_hidden_dim;
    const recorded = expected.has(`out.${part}`) ? floats(expected, `out.${part}`) : null;
    if (recorded) {
      results.push(compareNumbers(
        name,
        part,
        text ? takeRows(actual, attended, width) : actual,
        text ? takeRows(recorded, attended, width) : recorded,
        part === "logits" ? LOGITS : HIDDEN,
      ));
    }
    if (part === "logits" && expected.has("out.labelled_logits")) {
      results.push(compareNumbers(
        name,
        "labelled logits",
        takeRows(actual, labelled, width),
        floats(expected, "out.labelled_logits"),
        LOGITS,
      ));
    }
  });
  batch.dispose();
  return results;
}

/** One folder with `config.json`, `model.safetensors` and a recorded forward pass. */
async function replayFolder(
  name: string,
  folder: string,
  inputsFrom: Fixture,
): Promise<ParityResult[]> {
  const expected = await readSafetensors(`${folder}/forward.safetensors`);
  const { loss: recordedLoss } = JSON.parse(await Deno.readTextFile(`${folder}/forward.json`));
  const model = await fixtureModel(folder);
  const inputs = forwardInputs(inputsFrom);
  const results = await compareForward(name, model, inputs, expected);
  const { loss, gradients } = await lossAndGradients(
    () => model.forward(inputs).loss!,
    model.weights,
  );
  results.push(compareNumbers(name, "loss", [loss], [recordedLoss], { relative: 1e-5 }));
  results.push(...compareGradients(name, expected, gradients));
  inputs.images.dispose();
  model.dispose();
  return results;
}

/** A ViT with a class token: its output and the gradients for a given output gradient. */
async function replayClassToken(name: string, folder: string): Promise<ParityResult[]> {
  const expected = await readSafetensors(`${folder}/forward.safetensors`);
  const model = await fixtureModel(folder);
  const images = deviceTensor(expected, "images") as tf.Tensor4D;
  const outputGradient = deviceTensor(expected, "grad_output");
  const context = {
    weights: model.weights,
    packed: model.packedWeights,
    adapters: model.adapters,
    dropoutKeys: null,
    checkpointing: false,
  };
  const output = tf.tidy(() => visionTransformer(context, model.config, images));
  const [values] = await readBack([output]);
  const { gradients } = await lossAndGradients(
    () => visionTransformer(context, model.config, images).mul(outputGradient).sum() as tf.Scalar,
    model.weights,
  );
  tf.dispose([images, outputGradient, output]);
  model.dispose();
  return [
    compareNumbers(name, "vision_encoder", values, floats(expected, "out.vision_encoder"), HIDDEN),
    ...compareGradients(name, expected, gradients),
  ];
}

/**
 * Replays `model/` and each folder of `variants/` on the current backend.
 *
 * @param directory the fixtures folder
 */
export async function replayModelCases(directory: string): Promise<ParityResult[]> {
  const inputs = await readSafetensors(`${directory}/model/forward.safetensors`);
  const results = await replayFolder("model", `${directory}/model`, inputs);
  for (const variant of await variantNames(directory)) {
    const folder = `${directory}/variants/${variant}`;
    const name = `variants/${variant}`;
    if (!await exists(`${folder}/forward.safetensors`)) continue;
    const { vit_cls_flag } = JSON.parse(await Deno.readTextFile(`${folder}/config.json`));
    results.push(
      ...(vit_cls_flag
        ? await replayClassToken(name, folder)
        : await replayFolder(name, folder, inputs)),
    );
  }
  return results;
}
