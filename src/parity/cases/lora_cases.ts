/**
 * Replays `lora/`: logits, loss and gradients under LoRA and DoRA adapters.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../../device/read_back.ts";
import { IGNORED_LABEL } from "../../ignored_label.ts";
import { readSafetensors } from "../../model/safetensors/safetensors.ts";
import type { VisionLanguageModel } from "../../generate/vision_language_model.ts";
import { adapterParameters } from "../../train/optimizer/parameter_groups.ts";
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
} from "../fixture_model.ts";
import { compareGradients, lossAndGradients } from "./model_cases.ts";
import type { ParityResult } from "../result.ts";

const PREFIX = "base_model.model.";

/** Puts the adapter of a PEFT folder on a model. */
export async function applyFixtureAdapter(
  model: VisionLanguageModel,
  folder: string,
): Promise<void> {
  const config = JSON.parse(await Deno.readTextFile(`${folder}/adapter_config.json`));
  const tensors: Fixture = await readSafetensors(`${folder}/adapter_model.safetensors`);
  const variable = (name: string) => tf.tidy(() => tf.variable(deviceTensor(tensors, name), false));
  for (const name of tensors.keys()) {
    if (!name.endsWith(".lora_A.weight")) continue;
    const layer = name.slice(PREFIX.length, -".lora_A.weight".length);
    const magnitude = `${PREFIX}${layer}.lora_magnitude_vector`;
    model.setAdapter(layer, {
      loraA: variable(name),
      loraB: variable(`${PREFIX}${layer}.lora_B.weight`),
      magnitude: tensors.has(magnitude) ? variable(magnitude) : null,
      scaling: config.use_rslora
        ? config.lora_alpha / Math.sqrt(config.r)
        : config.lora_alpha / config.r,
      dropout: 0,
    });
  }
}

/**
 * Replays each adapter of `lora/` on the current backend.
 *
 * @param directory the fixtures folder
 */
export async function replayLoraCases(directory: string): Promise<ParityResult[]> {
  const recorded = JSON.parse(await Deno.readTextFile(`${directory}/lora/lora.json`));
  const inputsFrom = await readSafetensors(`${directory}/model/forward.safetensors`);
  const results: ParityResult[] = [];
  for (const [kind, { loss: recordedLoss }] of Object.entries<{ loss: number }>(recorded.results)) {
    if (!await exists(`${directory}/lora/${kind}`)) continue;
    const name = `lora/${kind}`;
    const expected = await readSafetensors(`${directory}/lora/${kind}_forward.safetensors`);
    const model = await fixtureModel(`${directory}/model`);
    await applyFixtureAdapter(model, `${directory}/lora/${kind}`);
    const inputs = forwardInputs(inputsFrom);
    const { logits, loss: unused } = model.forward({ ...inputs, returnLogits: true });
    const [values] = await readBack([logits!]);
    tf.dispose([logits!, unused!]);
    const labels = inputsFrom.get("targets")!.data as Int32Array;
    const labelled = takeRows(
      values as Float32Array,
      rowsWhere(labels, (label) => label !== IGNORED_LABEL),
      model.config.lm_vocab_size,
    );
    results.push(compareNumbers(
      name,
      "labelled logits",
      labelled,
      floats(expected, "out.labelled_logits"),
      { relative: 1e-4, absolute: 1e-4 },
    ));
    const { loss, gradients } = await lossAndGradients(
      () => model.forward(inputs).loss!,
      adapterParameters(model),
    );
    results.push(compareNumbers(name, "loss", [loss], [recordedLoss], { relative: 1e-5 }));
    results.push(...compareGradients(name, expected, gradients));
    inputs.images.dispose();
    model.dispose();
  }
  return results;
}
