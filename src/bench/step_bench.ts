/**
 * Seconds of a forward pass, of a training step and of AdamW alone; and of a step that trains LoRA
 * adapters.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { defaultLoraConfig } from "../model/files/adapter_files.ts";
import type { VisionLanguageModel } from "../generate/vision_language_model.ts";
import type { ImageTiles } from "../model/batch.ts";
import { PictureFeatures } from "../model/picture_features.ts";
import { addLora } from "../train/run/add_lora.ts";
import type { OptimizerName } from "../config/schema/optimizer/optimizer_names.ts";
import type { Precision } from "../ops/half/precision.ts";
import { lossGradients } from "../train/loop/gradients.ts";
import { ADAMW_DEFAULTS, Optimizer } from "../train/optimizer/optimizer.ts";
import { parameterGroups } from "../train/optimizer/parameter_groups.ts";
import { benchBatch, type BenchDims, benchModel, benchPictures } from "./bench_work.ts";
import { peakMebibytes, resetPeak } from "./process_memory.ts";
import { timed, type TimingOptions } from "./timing.ts";

/** Numbers by name: `…_s` seconds, `…_mib` mebibytes, `…_tokens_per_s`. */
export type Measured = Record<string, number>;

const LEARNING_RATE = 1e-4;
const WEIGHT_DECAY = 0.01;

/** A model with adapters as NanoVLM-Lab's configs have them; nothing else trains. */
export async function addBenchLora(model: VisionLanguageModel): Promise<void> {
  await addLora(model, { ...defaultLoraConfig(), lora_dropout: 0, init_lora_weights: "gaussian" });
}

/**
 * An optimizer of everything that is trained: all weights, or the adapters if there are any.
 *
 * @param name default: AdamW
 */
export function benchOptimizer(model: VisionLanguageModel, name?: OptimizerName): Optimizer {
  const rate = model.adapters.size > 0 ? 0 : LEARNING_RATE;
  const rates = {
    modalityProjector: rate,
    visionEncoder: rate,
    languageBackbone: rate,
    lora: LEARNING_RATE,
  };
  return new Optimizer(parameterGroups(model, rates, WEIGHT_DECAY), { ...ADAMW_DEFAULTS, name });
}

/** A model and a batch, to be stepped again and again. */
export class StepWork {
  readonly #batch: ReturnType<typeof benchBatch>;
  readonly #optimizer: Optimizer;
  readonly #pictures: readonly ImageTiles[];
  #checkpointing = false;

  /**
   * @param model the caller's
   * @param optimizer its name; default: AdamW
   */
  constructor(readonly model: VisionLanguageModel, dims: BenchDims, optimizer?: OptimizerName) {
    this.#batch = benchBatch(dims);
    this.#pictures = benchPictures(dims);
    this.#optimizer = benchOptimizer(model, optimizer);
  }

  /** From now on blocks are computed again in the backward pass, and their values are not kept. */
  checkpoint(): void {
    this.#checkpointing = true;
  }

  /** From now on the features of the pictures are kept, as in a run's later epochs. */
  keepFeatures(): void {
    const { model } = this;
    model.pictureFeatures = new PictureFeatures({
      encode: (images) => model.encodeImages(images),
      side: model.config.vit_img_size,
      memoryBytes: Infinity,
    });
  }

  #loss(features?: tf.Tensor): tf.Scalar {
    const options = { checkpointing: this.#checkpointing };
    return this.model.labelLogProbs(this.#batch, options, features)!.mean().neg() as tf.Scalar;
  }

  /** The loss alone. */
  forward(): tf.Scalar {
    return tf.tidy(() => this.#loss());
  }

  /** Loss and gradients; pictures outside the tape if the vision encoder is frozen. */
  gradients(): { loss: tf.Scalar; gradients: Map<string, tf.Tensor> } {
    const { parameters } = this.#optimizer;
    const features = this.model.keptFeatures(this.#pictures) ??
      (this.model.adapters.size > 0
        ? tf.tidy(() => this.model.imageFeatures(this.#batch.images))
        : undefined);
    const result = lossGradients(() => this.#loss(features), parameters);
    features?.dispose();
    return result;
  }

  /** Forward, backward, clipping, AdamW. */
  async step(): Promise<tf.Scalar> {
    const { loss, gradients } = this.gradients();
    const { gradNorm } = await this.#optimizer.measure(gradients, [loss]);
    this.update(gradients, gradNorm);
    tf.dispose([...gradients.values()]);
    return loss;
  }

  /** AdamW alone. */
  update(gradients: ReadonlyMap<string, tf.Tensor>, gradNorm = 1): void {
    this.#optimizer.step(gradients, gradNorm, 1);
  }

  /** A tensor that the last update wrote; a copy. */
  updated(): tf.Tensor {
    const [first] = this.#optimizer.parameters.values();
    return first.clone();
  }

  /** Frees everything but the model. */
  dispose(): void {
    this.#batch.dispose();
    this.#optimizer.dispose();
    this.model.pictureFeatures?.dispose();
    this.model.pictureFeatures = null;
  }
}

function withPeak(name: string, numbers: Measured): Measured {
  const peak = peakMebibytes();
  return peak === null ? numbers : { ...numbers, [name]: peak };
}

/** Times of full training: `forward_s`, `step_s`, `adamw_s`, `peak_mib`. */
export async function benchStep(work: StepWork, options: TimingOptions): Promise<Measured> {
  resetPeak();
  const forward = await timed(() => work.forward(), options);
  const step = await timed(() => work.step(), options);
  const { loss, gradients } = work.gradients();
  loss.dispose();
  const adamw = await timed(() => {
    work.update(gradients);
    return work.updated();
  }, options);
  tf.dispose([...gradients.values()]);
  return withPeak("peak_mib", {
    forward_s: forward.median,
    step_s: step.median,
    step_fastest_s: step.fastest,
    adamw_s: adamw.median,
  });
}

/** The LoRA step that is measured. */
export interface MeasuredLora {
  /** Default: float32. */
  readonly precision?: Precision;
  /** How the frozen matrices are kept; `Q8`: in 8 bits. Default: `BF16`. */
  readonly base?: "BF16" | "Q8";
  /** Whether blocks are computed again in the backward pass; default: no. */
  readonly checkpointing?: boolean;
}

/**
 * Times of a step that trains LoRA adapters (r 16 on the decoder) and nothing else, on matrices that
 * stay bfloat16: `lora_step_s`, `lora_peak_mib`, and `lora_later_step_s` of an epoch in which the
 * features of the pictures are there. Run it before a full step: what the process has taken it keeps.
 */
export async function benchLoraStep(
  dims: BenchDims,
  options: TimingOptions,
  { precision = "float32", base = "BF16", checkpointing = false }: MeasuredLora = {},
): Promise<Measured> {
  resetPeak();
  const model = benchModel(dims, base);
  model.precision = precision;
  await addBenchLora(model);
  const work = new StepWork(model, dims);
  if (checkpointing) work.checkpoint();
  try {
    const step = await timed(() => work.step(), options);
    const numbers = withPeak("lora_peak_mib", {
      lora_step_s: step.median,
      lora_step_fastest_s: step.fastest,
    });
    work.keepFeatures();
    const later = await timed(() => work.step(), options);
    return { ...numbers, lora_later_step_s: later.median };
  } finally {
    work.dispose();
    model.dispose();
  }
}
