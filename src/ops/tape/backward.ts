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

  /** All gradients that it holds. */
  get all(): tf.Tensor[] {
    return [...this.#gradients.values()];
  }

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

/** A forward pass, and what its backward pass needs. */
class BackwardPass<T extends tf.Tensor> {
  readonly value: T;
  readonly #tape: readonly TapeNode[];
  readonly #inputs: readonly tf.Tensor[];
  readonly #wanted: ReadonlySet<number>;
  /** For each node, the names of the inputs that get gradients. */
  readonly #names: readonly string[][];
  readonly #map = new GradientMap();

  /** @param sums taken over */
  constructor(
    f: () => T,
    inputs: readonly tf.Tensor[],
    sums: readonly (tf.Tensor | undefined)[],
  ) {
    const { value, tape } = record(f);
    this.value = value;
    this.#tape = tape;
    this.#inputs = inputs;
    this.#wanted = new Set(inputs.map((input) => input.id));
    this.#names = neededInputs(tape, inputs, value);
    tape.forEach((node, i) => {
      if (this.#names[i].length === 0) tf.dispose(node.saved);
    });
    sums.forEach((sum, i) => {
      if (sum !== undefined) this.#map.add(inputs[i].id, sum);
    });
  }

  /** The nodes with gradients, in the order of the backward pass. */
  *nodes(): Generator<number> {
    for (let i = this.#tape.length - 1; i >= 0; i--) if (this.#names[i].length > 0) yield i;
  }

  /** For each node, the indices of the inputs that it is the last one to give a gradient. */
  lastNodes(): Map<number, number[]> {
    const lastOf = new Map<number, number>();
    for (const i of this.nodes()) {
      for (const name of this.#names[i]) lastOf.set(this.#tape[i].inputs[name].id, i);
    }
    const result = new Map<number, number[]>();
    this.#inputs.forEach(({ id }, index) => {
      const node = lastOf.get(id);
      if (node !== undefined) result.set(node, [...result.get(node) ?? [], index]);
    });
    return result;
  }

  start(dy: tf.Tensor | undefined): void {
    this.#map.add(this.value.id, dy === undefined ? tf.ones(this.value.shape) : dy.clone());
  }

  /** Computes the gradients of a node's inputs. */
  propagate(index: number): void {
    const node = this.#tape[index];
    propagate(node, this.#names[index], this.#map);
    tf.dispose(node.saved);
    for (const output of node.outputs) {
      if (!this.#wanted.has(output.id)) this.#map.remove(output.id);
    }
  }

  /** The gradient of an input so far. */
  gradient(input: number): tf.Tensor | null {
    return this.#map.get(this.#inputs[input].id);
  }

  /** All gradients that are held now. */
  get held(): tf.Tensor[] {
    return this.#map.all;
  }

  /** The gradients of the inputs, which are the caller's. */
  take(): (tf.Tensor | null)[] {
    // A tensor named twice has one gradient, which has one owner.
    const seen = new Map<number, tf.Tensor>();
    return this.#inputs.map((input) => {
      const before = seen.get(input.id);
      const gradient = before === undefined ? this.#map.take(input.id) : before.clone();
      if (gradient !== null) seen.set(input.id, gradient);
      return gradient;
    });
  }

  /** Frees value and gradients if the pass failed. */
  fail(): void {
    this.value.dispose();
    tf.dispose(this.#map.all);
    freeUnclaimedGradients();
  }

  /** Frees what the nodes saved, and the tape. */
  end(): void {
    for (const node of this.#tape) tf.dispose(node.saved);
    const engine = tf.engine() as unknown as TapeEngine;
    if (engine.state.activeTape === this.#tape) engine.state.activeTape = null;
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
  const pass = new BackwardPass(f, inputs, sums);
  try {
    const gradients = tf.tidy("backward", () => {
      pass.start(dy);
      for (const node of pass.nodes()) pass.propagate(node);
      return pass.take() as tf.Tensor[];
    });
    return { value: pass.value, gradients };
  } catch (error) {
    pass.fail();
    throw error;
  } finally {
    pass.end();
  }
}

/**
 * As {@linkcode valueAndGradients}, with a call for each input as soon as its gradient is complete,
 * while the backward pass goes on.
 *
 * @param onGradient gets the index of an input and its gradient, which must not be changed or
 *   freed. If it returns a promise, the pass waits for it.
 */
export async function valueAndGradientsAsReady<T extends tf.Tensor>(
  f: () => T,
  inputs: readonly tf.Tensor[],
  dy: tf.Tensor | undefined,
  sums: readonly (tf.Tensor | undefined)[],
  onGradient: (input: number, gradient: tf.Tensor) => Promise<void> | void,
): Promise<ValueAndGradients<T>> {
  const pass = new BackwardPass(f, inputs, sums);
  /** Frees what the work makes beside the gradients. */
  const tidy = (work: () => void) =>
    tf.tidy("backward", () => {
      work();
      return pass.held;
    });
  try {
    const last = pass.lastNodes();
    tidy(() => pass.start(dy));
    for (const node of pass.nodes()) {
      tidy(() => pass.propagate(node));
      for (const input of last.get(node) ?? []) await onGradient(input, pass.gradient(input)!);
    }
    return { value: pass.value, gradients: pass.take() };
  } catch (error) {
    pass.fail();
    throw error;
  } finally {
    pass.end();
  }
}
