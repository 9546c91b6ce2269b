/**
 * An optimizer over groups of parameters, with clipping by the global norm: what Transformers'
 * Trainer does between two optimizer steps.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../../device/read_back.ts";
import { elementCount } from "../../element_count.ts";
import { gradientNorm } from "../../ops/optimizer.ts";
import {
  createState,
  disposeState,
  type HostState,
  readStates,
  setState,
  type StateArray,
  type StateSpec,
} from "../../ops/updates/state_array.ts";
import { firstBadValue } from "./first_bad_tensor.ts";
import { makeRule } from "./rules/make_rule.ts";
import type { AdamWOptions, OptimizerOptions, RuleUpdate, UpdateRule } from "./update_rule.ts";

export type { AdamWOptions, OptimizerOptions };

/** Parameters that share a learning rate and a weight decay. */
export interface ParameterGroup {
  /** For example `modality_projector`. */
  name: string;
  /** At multiplier 1. */
  learningRate: number;
  weightDecay: number;
  parameters: Map<string, tf.Variable>;
}

/** torch.optim.AdamW's defaults, and Trainer's clipping. */
export const ADAMW_DEFAULTS: AdamWOptions = { beta1: 0.9, beta2: 0.999, eps: 1e-8, maxGradNorm: 1 };

/** An array of a checkpoint. */
export interface StoredState {
  readonly shape: readonly number[];
  readonly data: HostState;
}

/** The state on the host, as a checkpoint keeps it. */
export interface OptimizerState {
  /** Updates that each parameter has had. */
  steps: Record<string, number>;
  /** By torch's name of the state and the parameter's name: `exp_avg.MP.proj.weight`. */
  arrays: ReadonlyMap<string, StoredState>;
  /** Numbers of groups; only schedule-free AdamW has them. */
  numbers: Record<string, number>;
}

/** The state in which a checkpoint keeps the weights that train, if it saves others. */
const TRAINED_WEIGHTS = "y";

/** A loss, gradient or weight that is NaN or infinite. */
export class NonFiniteError extends Error {
  override readonly name = "NonFiniteError";
  /**
   * @param tensor name of the first bad tensor
   * @param losses of the step, if they are finite and its gradients are not
   */
  constructor(
    message: string,
    readonly tensor: string,
    readonly losses: readonly number[] | null = null,
  ) {
    super(message);
  }
}

interface Slot {
  readonly group: ParameterGroup;
  readonly parameter: tf.Variable;
  readonly specs: Readonly<Record<string, StateSpec>>;
  readonly state: Readonly<Record<string, StateArray>>;
  steps: number;
}

/** Updates groups of parameters by one rule. */
export class Optimizer {
  readonly #slots = new Map<string, Slot>();
  readonly #rule: UpdateRule;
  /** The weights that train, while the parameters hold their averages; null while they do not. */
  #trained: Map<string, Float32Array> | null = null;

  /**
   * @param groups the trainable parameters; no name twice
   * @param options which optimizer, and its constants
   */
  constructor(readonly groups: readonly ParameterGroup[], readonly options: OptimizerOptions) {
    this.#rule = makeRule(options);
    for (const group of groups) {
      for (const [name, parameter] of group.parameters) {
        if (this.#slots.has(name)) throw new Error(`Cannot train ${name} in two groups`);
        const specs = this.#rule.stateOf(name, parameter.shape);
        const state = Object.fromEntries(
          Object.entries(specs).map(([key, spec]) => [key, createState(spec)]),
        );
        this.#slots.set(name, { group, parameter, specs, state, steps: 0 });
      }
    }
  }

  /** All trainable parameters by name. */
  get parameters(): Map<string, tf.Variable> {
    return new Map([...this.#slots].map(([name, slot]) => [name, slot.parameter]));
  }

  /**
   * The global norm of the gradients, read back together with the losses of the step.
   *
   * @param gradients of the whole step
   * @param losses scalars to read in the same go
   * @param lossScale what the gradients are multiplied by; the norm is without it. A power of two
   *   takes nothing from a norm's bits
   * @throws {NonFiniteError} if one of them is not finite; names the first bad tensor
   */
  async measure(
    gradients: ReadonlyMap<string, tf.Tensor>,
    losses: readonly tf.Scalar[],
    lossScale = 1,
  ): Promise<{ gradNorm: number; losses: number[] }> {
    const norm = gradients.size > 0 ? gradientNorm([...gradients.values()]) : tf.scalar(0);
    const values = (await readBack([norm, ...losses])).map(([value]) => value);
    norm.dispose();
    if (values.every(Number.isFinite)) {
      return { gradNorm: values[0] / lossScale, losses: values.slice(1) };
    }
    const bad = await firstBadValue(gradients);
    const finiteLosses = values.slice(1).every(Number.isFinite);
    const loss = `the loss is ${values.slice(1).join(", ")}`;
    if (bad !== null) {
      const gradient = `the gradient of ${bad.name} is ${bad.value} at element ${bad.index}`;
      throw new NonFiniteError(
        finiteLosses ? gradient : `${loss}, and ${gradient}`,
        bad.name,
        finiteLosses ? values.slice(1) : null,
      );
    }
    throw new NonFiniteError(
      finiteLosses
        ? "the gradients are finite one by one, but the norm of all of them is not"
        : loss,
      finiteLosses ? "gradient norm" : "loss",
      finiteLosses ? values.slice(1) : null,
    );
  }

  /**
   * Clips and updates. Parameters without a gradient stay as they are, their state included.
   *
   * @param gradients of the whole step
   * @param gradNorm their global norm, without the loss scale
   * @param multiplier of every group's learning rate, or one for each group
   * @param lossScale what the gradients are multiplied by
   */
  step(
    gradients: ReadonlyMap<string, tf.Tensor>,
    gradNorm: number,
    multiplier: number | readonly number[],
    lossScale = 1,
  ): void {
    const { maxGradNorm } = this.options;
    this.showTrained();
    const clipping = maxGradNorm > 0 ? Math.min(1, maxGradNorm / (gradNorm + 1e-6)) : 1;
    const gradientScale = clipping / lossScale;
    const rates = new Map(this.groups.map(({ name, learningRate }, i) => {
      const factor = typeof multiplier === "number" ? multiplier : multiplier[i];
      return [name, learningRate * factor];
    }));
    this.#rule.beginStep?.(rates);
    this.#rule.update(Array.from(gradients, ([name, gradient]): RuleUpdate => {
      const slot = this.#slots.get(name);
      if (!slot) throw new Error(`Cannot update ${name}: it is in no parameter group`);
      const { group, parameter, state } = slot;
      return {
        ...{ name, parameter, gradient, state, gradientScale },
        group: group.name,
        learningRate: rates.get(group.name)!,
        weightDecay: group.weightDecay,
        step: ++slot.steps,
      };
    }));
  }

  /** What a group's learning rate was multiplied by in the last step, beside the schedule. */
  rateFactor(group: string): number {
    return this.#rule.rateFactor?.(group) ?? 1;
  }

  /**
   * Runs `use` with the weights to evaluate and to save in the parameters; the ones that train are
   * there again afterwards, to the bit. Only schedule-free AdamW has others than these.
   */
  async withAverages<T>(use: () => Promise<T>): Promise<T> {
    const shown = this.#trained !== null;
    await this.showAverages();
    try {
      return await use();
    } finally {
      if (!shown) this.showTrained();
    }
  }

  /** Puts the weights to evaluate and to save into the parameters, until {@linkcode showTrained}. */
  async showAverages(): Promise<void> {
    const { setAverage } = this.#rule;
    if (setAverage === undefined || this.#trained !== null) return;
    this.#trained = await this.#readParameters();
    for (const { parameter, state, steps } of this.#slots.values()) {
      if (steps > 0) setAverage(parameter, state);
    }
  }

  /** Puts the weights that train into the parameters. */
  showTrained(): void {
    for (const [name, values] of this.#trained ?? []) setParameter(this.#slot(name), values);
    this.#trained = null;
  }

  #slot(name: string): Slot {
    return this.#slots.get(name)!;
  }

  /** Copies of the parameters. */
  async #readParameters(): Promise<Map<string, Float32Array>> {
    const slots = [...this.#slots];
    const values = await readBack(slots.map(([, { parameter }]) => parameter));
    return new Map(slots.map(([name], i) => [name, (values[i] as Float32Array).slice()]));
  }

  /**
   * The state on the host. What is there anyway is given as it is and changes with the next step: a
   * checkpoint, which is written before it, needs no second copy of it.
   */
  async state(): Promise<OptimizerState> {
    const all = [...this.#slots].flatMap(([name, { specs, state }]) =>
      Object.entries(specs).map(([key, spec]) => ({
        name: `${key}.${name}`,
        spec,
        array: state[key],
      }))
    );
    const values = await readStates(all.map(({ array, spec }) => [array, spec]));
    const arrays = new Map(all.map(({ name, spec }, i): [string, StoredState] => [
      name,
      { shape: spec.shape, data: values[i] },
    ]));
    if (this.#rule.setAverage !== undefined) {
      for (const [name, data] of this.#trained ?? await this.#readParameters()) {
        const { shape } = this.#slot(name).parameter;
        arrays.set(`${TRAINED_WEIGHTS}.${name}`, { shape, data });
      }
    }
    return {
      steps: Object.fromEntries([...this.#slots].map(([name, { steps }]) => [name, steps])),
      arrays,
      numbers: this.#rule.numbers?.() ?? {},
    };
  }

  /**
   * Continues from a saved state.
   *
   * @throws {Error} if it lacks an array or has another number of elements; nothing is changed then
   */
  restore({ steps, arrays, numbers }: OptimizerState): void {
    const found = (
      key: string,
      name: string,
      { dtype }: Pick<StateSpec, "dtype">,
      size: number,
    ) => {
      const stored = arrays.get(`${key}.${name}`)?.data;
      const fits = stored?.length === size &&
        stored instanceof Float32Array === (dtype === "float32");
      if (stored !== undefined && fits) return stored;
      throw new Error(
        `Cannot resume the optimizer: the checkpoint has ${stored?.length ?? "no"} values for ` +
          `${key} of ${name}, want ${size} for ${this.#rule.name}; was it written by another ` +
          "config or optimizer?",
      );
    };
    const changes: (() => void)[] = [];
    for (const [name, slot] of this.#slots) {
      for (const [key, spec] of Object.entries(slot.specs)) {
        const values = found(key, name, spec, elementCount(spec.shape));
        changes.push(() => setState(slot.state[key], values));
      }
      if (this.#rule.setAverage !== undefined) {
        const spec = { dtype: "float32" } as const;
        const values = found(TRAINED_WEIGHTS, name, spec, slot.parameter.size) as Float32Array;
        changes.push(() => setParameter(slot, values));
      }
      changes.push(() => slot.steps = steps[name] ?? 0);
    }
    this.#trained = null;
    for (const change of changes) change();
    this.#rule.restoreNumbers?.(numbers);
  }

  /** Frees the state; the parameters are the model's. */
  dispose(): void {
    for (const { state } of this.#slots.values()) Object.values(state).forEach(disposeState);
    this.#slots.clear();
  }
}

function setParameter({ parameter }: Pick<Slot, "parameter">, values: Float32Array): void {
  tf.tidy(() => parameter.assign(tf.tensor(values, parameter.shape)));
}
