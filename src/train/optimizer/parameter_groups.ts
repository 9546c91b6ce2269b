/**
 * Which tensors train, and how fast: one group each for the projector, the vision encoder, the
 * decoder and the adapters (NanoVLM-Lab's `create_optimizer`).
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import type { TrainingSection } from "../../config/types/config_types.ts";
import type { VisionLanguageModel } from "../../generate/vision_language_model.ts";
import type { OptimizerOptions, ParameterGroup } from "./optimizer.ts";

/** Learning rates by part; 0 freezes it. */
export interface GroupRates {
  modalityProjector: number;
  visionEncoder: number;
  /** Of the decoder's own weights; under adapters those are frozen and this is not used. */
  languageBackbone: number;
  /** Of LoRA and DoRA tensors. */
  lora: number;
}

/** Names of an adapter's tensors as PEFT writes them, with the prefix `base_model.model.`. */
export function adapterParameters(model: VisionLanguageModel): Map<string, tf.Variable> {
  const parameters = new Map<string, tf.Variable>();
  for (const [layer, { loraA, loraB, magnitude }] of model.adapters) {
    const name = `base_model.model.${layer}`;
    parameters.set(`${name}.lora_A.weight`, loraA as tf.Variable);
    parameters.set(`${name}.lora_B.weight`, loraB as tf.Variable);
    if (magnitude) parameters.set(`${name}.lora_magnitude_vector`, magnitude as tf.Variable);
  }
  return parameters;
}

/**
 * The groups of a model, in NanoVLM-Lab's order. With adapters the decoder's own weights are
 * frozen; the projector and the vision encoder train if their rates are above 0.
 *
 * @param weightDecay of every tensor of every group, biases and norms included
 * @throws {Error} if a weight that is to train is kept in 16 bits
 */
export function parameterGroups(
  model: VisionLanguageModel,
  rates: GroupRates,
  weightDecay: number,
): ParameterGroup[] {
  // Of an adapted layer the adapter alone trains: PEFT's format has no place for both.
  const adapted = (name: string) => model.adapters.has(name.replace(/\.(weight|bias)$/, ""));
  const below = (prefix: string) =>
    new Map([...model.weights].filter(([name]) => name.startsWith(prefix) && !adapted(name)));
  const adapters = adapterParameters(model);
  const refusePacked = (prefix: string, rate: number): void => {
    const name = [...model.packedWeights.keys()].find((name) =>
      rate > 0 && name.startsWith(prefix) && !adapted(name)
    );
    if (name === undefined) return;
    throw new Error(
      `Cannot train ${name}: it is kept in 16 bits, which only frozen weights are; load the model ` +
        "without keepPacked, or give its part the learning rate 0",
    );
  };
  refusePacked("MP.", rates.modalityProjector);
  refusePacked("vision_encoder.", rates.visionEncoder);
  if (adapters.size === 0) refusePacked("decoder.", rates.languageBackbone);
  const group = (name: string, learningRate: number, parameters: Map<string, tf.Variable>) => ({
    name,
    learningRate,
    weightDecay,
    parameters,
  });
  return [
    group("modality_projector", rates.modalityProjector, below("MP.")),
    group("vision_encoder", rates.visionEncoder, below("vision_encoder.")),
    adapters.size > 0
      ? group("lora_adapters", rates.lora, adapters)
      : group("language_backbone", rates.languageBackbone, below("decoder.")),
  ].filter(({ learningRate, parameters }) => learningRate > 0 && parameters.size > 0);
}

/**
 * The groups of a model by a config's rates.
 *
 * @throws {Error} if a weight that is to train is kept in 16 bits
 */
export function configuredGroups(
  model: VisionLanguageModel,
  training: TrainingSection,
): ParameterGroup[] {
  return parameterGroups(model, {
    modalityProjector: training.lr_mp,
    visionEncoder: training.lr_vision_backbone,
    languageBackbone: training.lr_language_backbone,
    lora: training.lr_lora,
  }, training.weight_decay);
}

/** The optimizer and its constants by a config. */
export function optimizerOptions(training: TrainingSection): OptimizerOptions {
  return {
    name: training.optim,
    arguments: training.optim_args,
    beta1: training.adam_beta1,
    beta2: training.adam_beta2,
    eps: training.adam_epsilon,
    maxGradNorm: training.max_grad_norm,
  };
}

/** @throws {Error} if nothing trains */
export function requireTrained(groups: readonly ParameterGroup[]): void {
  if (groups.length > 0) return;
  throw new Error(
    "Cannot train: every learning rate is 0; set lr_mp, lr_vision_backbone, " +
      "lr_language_backbone or lr_lora above 0",
  );
}

/** Norms by nanoVLM's names: `ln1`, `layer_norm`, `norm1`, `norm`. */
const NORM = /(?:^|[._])(?:ln|norm)\d*\.weight$/;

/**
 * Whether AdamW's weight decay applies to a tensor under DPO: weights decay, biases and norms do
 * not, which is what Transformers' Trainer intends. Its patterns miss nanoVLM's `norm1` and `norm2`,
 * which therefore decay in NanoVLM-Lab. Under SFT and GRPO every tensor decays, as in NanoVLM-Lab's
 * own optimizer.
 */
function decays(name: string): boolean {
  return !name.endsWith(".bias") && !NORM.test(name);
}

/**
 * Splits each group into the tensors that decay and those that do not.
 *
 * @param groups as `parameterGroups()` makes them
 * @returns as many groups, or more: `NAME_no_decay` beside `NAME` if a group has both kinds
 */
export function splitByDecay(groups: readonly ParameterGroup[]): ParameterGroup[] {
  return groups.flatMap((group) => {
    if (group.weightDecay === 0) return [group];
    const part = (decaying: boolean) =>
      new Map([...group.parameters].filter(([name]) => decays(name) === decaying));
    return [
      { ...group, parameters: part(true) },
      { ...group, name: `${group.name}_no_decay`, weightDecay: 0, parameters: part(false) },
    ].filter(({ parameters }) => parameters.size > 0);
  });
}
