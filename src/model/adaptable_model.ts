/**
 * What a model holds: its weights by name and the adapters on them. It owns and frees them.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import type { PackedWeight, Weight } from "../ops/half/packed_weight.ts";
import type { VLMConfig } from "../vlm_config.ts";
import type { ForwardContext } from "./linear_layer.ts";
import { holdWeights } from "./model_weights.ts";
import type { HostWeights, PackedHostWeights } from "./packed_weights.ts";
import { type Adapter, matrix, type ModelTensors } from "./weights_map.ts";

// C channels, V vocabulary

/** The tensors of one model on the current tfjs backend. */
export class AdaptableModel {
  readonly #weights = new Map<string, tf.Variable>();
  readonly #packed = new Map<string, PackedWeight>();
  readonly #adapters = new Map<string, Adapter>();

  /**
   * @param config the architecture
   * @param weights by nanoVLM's names, copied to the device; 16-bit ones stay 16-bit and cannot be
   *   trained
   * @param imageTokenId id of the token that stands for one projected patch
   */
  constructor(
    readonly config: VLMConfig,
    weights: Iterable<[string, HostWeights | PackedHostWeights]>,
    readonly imageTokenId: number,
  ) {
    this.hold(weights);
  }

  /** Puts weights onto the device: those of the constructor, or more of them. */
  protected hold(weights: Iterable<[string, HostWeights | PackedHostWeights]>): void {
    holdWeights(this.config, weights, this.#weights, this.#packed);
  }

  /**
   * The weights in float32, by nanoVLM's names; with a tied head, `decoder.head.weight` alone.
   * Frozen ones that are kept in 16 bits are {@linkcode packedWeights}.
   */
  get weights(): ReadonlyMap<string, tf.Variable> {
    return this.#weights;
  }

  /** Frozen matrices in 16 bits, by nanoVLM's names; none of them is in {@linkcode weights}. */
  get packedWeights(): ReadonlyMap<string, PackedWeight> {
    return this.#packed;
  }

  /** The adapters by the name of the layer that they adapt. */
  get adapters(): ReadonlyMap<string, Adapter> {
    return this.#adapters;
  }

  /**
   * Puts an adapter on a linear layer; the model owns its tensors from then on.
   *
   * @param layer for example `decoder.blocks.0.attn.q_proj`
   * @throws {Error} if the layer does not exist or has one already
   */
  setAdapter(layer: string, adapter: Adapter): void {
    if (!this.#weights.has(`${layer}.weight`) && !this.#packed.has(`${layer}.weight`)) {
      throw new Error(`Cannot adapt ${layer}: the model has no such layer`);
    }
    if (this.#adapters.has(layer)) throw new Error(`Cannot adapt ${layer}: it has an adapter`);
    this.#adapters.set(layer, adapter);
  }

  get #tensors(): ModelTensors {
    return { weights: this.#weights, packed: this.#packed, adapters: this.#adapters };
  }

  /** The language-model head, [V, C]. */
  get head(): Weight {
    return matrix(this.#tensors, "decoder.head.weight");
  }

  /** The token-embedding table, [V, C]; the head's own tensor if they are tied. */
  protected get table(): Weight {
    const name = this.config.lm_tie_weights ? "decoder.head" : "decoder.token_embedding";
    return matrix(this.#tensors, `${name}.weight`);
  }

  /** What the parts of the model compute with in one pass. */
  protected context(
    options: Partial<Pick<ForwardContext, "dropoutKeys" | "checkpointing">> & {
      readonly withoutAdapters?: boolean;
      readonly adapters?: ReadonlyMap<string, Adapter>;
    },
  ): ForwardContext {
    return {
      ...this.#tensors,
      adapters: options.withoutAdapters ? new Map() : options.adapters ?? this.#adapters,
      dropoutKeys: options.dropoutKeys ?? null,
      checkpointing: options.checkpointing ?? false,
    };
  }

  /** Frees all tensors of the model. */
  dispose(): void {
    for (const tensor of this.#weights.values()) tensor.dispose();
    for (const packed of this.#packed.values()) packed.dispose();
    for (const { loraA, loraB, magnitude } of this.#adapters.values()) {
      loraA.dispose();
      loraB.dispose();
      magnitude?.dispose();
    }
    this.#weights.clear();
    this.#packed.clear();
    this.#adapters.clear();
  }
}
