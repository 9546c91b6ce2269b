/**
 * Reverse-mode differentiation over tfjs's tape that frees memory as it goes.
 *
 * tfjs's own `grads` keeps every saved activation and every intermediate gradient until the end,
 * which is twice the memory of the activations; here each is freed once the gradients of its node
 * are computed. If a tensor has a gradient already, a further one is added to it in place, by the
 * kernel that computes it if that kernel can.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { fusedKernels } from "../fused_kernels.ts";
import { freeUnclaimedGradients, type Gradients, type GradientSums } from "./fused_op.ts";

/** A recorded op, as tfjs 4.22 records it. */
interface TapeNode {
  readonly inputs: Record<string, tf.Tensor>;
  readonly outputs: tf.Tensor[];
  readonly saved: tf.Tensor[];
  readonly gradient?: (dys: (tf.Tensor | null)[]) => Gradients;
  readonly kernelName: string;
}

/** The parts of tfjs's engine that record the tape. */
interface TapeEngine {
  readonly state: { activeTape: TapeNode[] | null };
  startTape(): void;
  endTape(): void;
}

/** What {@linkcode valueAndGradients} returns; all tensors are the caller's. */
export interface ValueAndGradients<T extends tf.Tensor> {
  value: T;
  /** In the order of the inputs; null for an input that the value does not depend on. */
  gradients: (tf.Tensor | null)[];
}

/** Runs `f` with a tape of its own. */
function record<T extends tf.Tensor>(f: () => T): { value: T; tape: TapeNode[] } {
  const engine = tf.engine() as unknown as TapeEngine;
  engine.startTape();
  try {
    const value = tf.tidy("forward", f) as T;
    return { value, tape: engine.state.activeTape ?? [] };
  } catch (error) {
    for (const node of engine.state.activeTape ?? []) tf.dispose(node.saved);
    throw error;
  } finally {
    engine.endTape();
  }
}

/** For each node, the names of its inputs that lie between `inputs` and `value`; empty: not needed. */
function neededInputs(tape: readonly TapeNode[], inputs: readonly tf.Tensor[], value: tf.Tensor) {
  const fromInputs = new Set(inputs.map((tensor) => tensor.id));
  const names = tape.map((node) => {
    const found = Object.keys(node.inputs).filter((name) => fromInputs.has(node.inputs[name].id));
    if (found.length > 0) { for (const output of node.outputs) fromInputs.add(output.id); }
    return found;
  });
  const toValue = new Set([value.id]);
  for (let i = tape.length - 1; i >= 0; i--) {
    if (names[i].length > 0 && tape[i].outputs.some((output) => toValue.has(output.id))) {
      for (const name of names[i]) toValue.add(tape[i].inputs[name].id);
    } else names[i] = [];
  }
  return names;
}

/** Gradients by tensor id, added up over the uses of a tensor. */
class GradientMap {
  readonly #gradients = new Map<number, tf.Tensor>();
  readonly #owned = new Set<number>();

  /** Takes ownership of a gradient; one that the map holds for another tensor is cloned. */
  add(id: number, gradient: tf.Tensor): void {
    const before = this.#gradients.get(id);
    if (before === gradient) return; // It was added in place.
    const own = this.#owned.has(gradient.id) ? gradient.clone() : gradient;
    if (before === undefined) return this.#set(id, own);
    const kernels = fusedKernels();
    if (kernels !== null && this.sum(id) !== undefined) kernels.addTo(before, own);
    else {
      this.#set(id, tf.add(before, own));
      this.#free(before);
    }
    own.dispose();
  }

  /** The gradient if it may be added to in place: no other tensor shares its values. */
  sum(id: number): tf.Tensor | undefined {
    const gradient = this.#gradients.get(id);
    return gradient && tf.backend().refCount(gradient.dataId) === 1 ? gradient : undefined;
  }

  get(id: number): tf.Tensor | null {
    return this.#gradients.get(id) ?? null;
  }

  /** Removes a gradient without freeing it. */
  take(id: number): tf.Tensor | null {
    const gradient = this.get(id);
    this.#gradients.delete(id);
    return gradient;
  }

  /** Removes and frees a gradient. */
  remove(id: number): void {
    const gradient = this.take(id);
    if (gradient !== null) this.#free(gradient);
  }

  #set(id: number, gradient: tf.Tensor): void {
    this.#owned.add(gradient.id);
    this.#gradients.set(id, gradient);
  }

  #free(gradient: tf.Tensor): void {
    this.#owned.delete(gradient.id);
    gradient.dispose();
  }
}

function propagate(node: TapeNode, names: readonly string[], map: GradientMap): void {
  if (node.gradient === undefined) {
    throw new Error(`Cannot run the backward pass of ${node.kernelName}: it has no gradient`);
  }
  const gradients = node.gradient(node.outputs.map((output) => map.get(output.id)));
  const ids = names.map((name) => node.inputs[name].id);
  // An input with two names has one sum, which cannot be two outputs of one kernel.
  const sums: GradientSums = new Set(ids).size < ids.length
    ? {}
    : Object.fromEntries(names.map((name, i) => [name, map.sum(ids[i])]));
  for (const name of names) {
    const input = node.inputs[name];
    const gradient = tf.tidy(() => gradients[name](sums));
    if (!tf.util.arraysEqual(gradient.shape, input.shape)) {
      throw new Error(
        `Cannot run the backward pass of ${node.kernelName}: the gradient of ${name} is ` +
          `[${gradient.shape}], the input is [${input.shape}]`,
      );
    }
    map.add(input.id, gradient);
  }
}

/**
 * The value of `f` and its gradients.
 *
 * @param f runs once; tensors that it makes and does not return are freed
 * @param inputs the tensors to differentiate by; `f` must use these very objects
 * @param dy gradient of the value; default: ones
 * @param sums for each input the tensor that its gradient is added to, if any. This function takes
 *   ownership of them; they are freed if it throws. An input must not be named twice then.
 * @throws {Error} if an op between inputs and value has no gradient
 */
export function valueAndGradients<T extends tf.Tensor>(
  f: () => T,
  inputs: readonly tf.Tensor[],
  dy?: tf.Tensor,
  sums: readonly (tf.Tensor | undefined)[] = [],
): ValueAndGradients<T> {
  const { value, tape } = record(f);
  try {
    const names = neededInputs(tape, inputs, value);
    const wanted = new Set(inputs.map((input) => input.id));
    tape.forEach((node, i) => {
      if (names[i].length === 0) tf.dispose(node.saved);
    });
    const gradients = tf.tidy("backward", () => {
      const map = new GradientMap();
      sums.forEach((sum, i) => {
        if (sum !== undefined) map.add(inputs[i].id, sum);
      });
      map.add(value.id, dy === undefined ? tf.ones(value.shape) : dy.clone());
      for (let i = tape.length - 1; i >= 0; i--) {
        const node = tape[i];
        if (names[i].length === 0) continue;
        propagate(node, names[i], map);
        tf.dispose(node.saved);
        for (const output of node.outputs) if (!wanted.has(output.id)) map.remove(output.id);
      }
      // A tensor named twice has one gradient, which has one owner.
      const seen = new Map<number, tf.Tensor>();
      return inputs.map((input) => {
        const before = seen.get(input.id);
        const gradient = before === undefined ? map.take(input.id) : before.clone();
        if (gradient !== null) seen.set(input.id, gradient);
        return gradient;
      }) as tf.Tensor[];
    }) as (tf.Tensor | null)[];
    return { value, gradients };
  } catch (error) {
    value.dispose();
    freeUnclaimedGradients();
    throw error;
  } finally {
    for (const node of tape) tf.dispose(node.saved);
    const engine = tf.engine() as unknown as TapeEngine;
    if (engine.state.activeTape === tape) engine.state.activeTape = null;
  }
}
