/**
 * Runs a kernel of ours as a tfjs kernel, so that tfjs counts and frees its tensors, records it on
 * the tape, and asks only for the gradients that are needed.
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { freeingOnFailure } from "./kernel_outputs.ts";

/** The sums of gradients so far, by the name of the input; no other tensor shares their values. */
export type GradientSums = Readonly<Record<string, tf.Tensor | undefined>>;

/**
 * Computes the gradient of an input: a new tensor or, with the gradient added to it in place, the
 * input's sum.
 */
export type GradientFunction = (sums?: GradientSums) => tf.Tensor;

/** Gradients by the name of the input, each computed only if it is needed. */
export type Gradients = Record<string, GradientFunction>;

/** One op: its forward function, what it keeps, its gradients. `Tools` is what its backend works with. */
export interface FusedOp<Tools> {
  /** Of the kernel, one for each backend; the same name always has the same saved tensors. */
  readonly name: string;
  /** Every tensor that `run` reads. */
  readonly inputs: tf.NamedTensorMap;
  /** Names of the inputs that the backward pass reads. */
  readonly saveInputs?: readonly string[];
  /** For each output, whether the backward pass reads it. */
  readonly saveOutputs?: readonly boolean[];
  /** Computes the outputs. */
  run(tools: Tools): tf.TensorInfo[];
  /** From the gradient of the first output and the saved tensors, inputs first. */
  gradient?(dy: tf.Tensor, saved: tf.Tensor[]): Gradients;
}

/** tfjs types attributes as plain values, but passes any object on. */
interface FusedAttributes<Tools> {
  readonly op: FusedOp<Tools>;
  readonly tools: () => Tools;
}

const registered = new Set<string>();

function register<Tools>(op: FusedOp<Tools>, backendName: string): void {
  tf.registerKernel({
    kernelName: op.name,
    backendName,
    kernelFunc: freeingOnFailure(({ attrs }) => {
      const { op, tools } = attrs as unknown as FusedAttributes<Tools>;
      return op.run(tools());
    }),
  });
  tf.registerGradient({
    kernelName: op.name,
    inputsToSave: [...op.saveInputs ?? []],
    outputsToSave: [...op.saveOutputs ?? []],
    gradFunc: (dy, saved, attrs) => {
      const { gradient, name } = (attrs as unknown as FusedAttributes<Tools>).op;
      if (gradient === undefined) throw new Error(`${name} has no gradient`);
      return gradient(Array.isArray(dy) ? dy[0] : dy, saved);
    },
  });
}

/**
 * Runs an op and returns all its outputs.
 *
 * @param op what runs
 * @param backendName of the tfjs backend that it is written for
 * @param tools what `run` is given, asked for at every run
 */
export function runOp<Tools>(
  op: FusedOp<Tools>,
  backendName: string,
  tools: () => Tools,
): tf.Tensor[] {
  if (!registered.has(op.name)) {
    registered.add(op.name);
    register(op, backendName);
  }
  const attributes: FusedAttributes<Tools> = { op, tools };
  const outputs: tf.Tensor | tf.Tensor[] = tf.engine().runKernel(
    op.name,
    op.inputs,
    attributes as unknown as tf.NamedAttrMap,
  );
  return Array.isArray(outputs) ? outputs : [outputs];
}

/** The first of an op's outputs; the others are kept only if the backward pass reads them. */
export function firstOutput<T extends tf.Tensor>([first, ...others]: tf.Tensor[]): T {
  for (const tensor of others) tensor.dispose();
  return first as T;
}

/** Whether this tensor's gradient may be needed: false for a variable that is not trained. */
export function wantsGradient(tensor: tf.Tensor): boolean {
  return !(tensor instanceof tf.Variable) || tensor.trainable;
}

/** Gradients that a kernel computed together with a needed one and that are not claimed yet. */
const unclaimed = new Set<tf.Tensor>();

/** Frees gradients that were computed together with a needed one and never claimed. */
export function freeUnclaimedGradients(): void {
  for (const tensor of unclaimed) tensor.dispose();
  unclaimed.clear();
}

/**
 * Gradients that one kernel computes together, while tfjs asks for them one by one: `compute` runs
 * at the first request and the others are kept. Those that are never requested are freed when the
 * gradients of the next op are computed.
 *
 * @param compute returns all of them, each a new tensor or the sum that it was added to
 */
export function sharedGradients(
  compute: (sums: GradientSums) => tf.Tensor[],
): (index: number) => GradientFunction {
  freeUnclaimedGradients();
  let all: tf.Tensor[] | null = null;
  const added = new Set<tf.Tensor>();
  return (index) => (sums = {}) => {
    if (all === null) {
      const before = new Set(Object.values(sums));
      all = compute(sums);
      for (const tensor of all) {
        if (before.has(tensor)) added.add(tensor);
        // tfjs runs every gradient function in a scope of its own, which would free the others.
        else unclaimed.add(tf.keep(tensor));
      }
    }
    const wanted = all[index];
    if (added.has(wanted)) return wanted;
    unclaimed.delete(wanted);
    const result = wanted.clone();
    wanted.dispose();
    return result;
  };
}

/**
 * Gradients of two inputs that cost less if computed together. If tfjs asks for both, it asks for the
 * first one first.
 *
 * @param compute returns those of the two that are wanted
 * @param both whether the second will be asked for once the first has been
 */
export function pairedGradients(
  compute: (first: boolean, second: boolean, sums: GradientSums) => tf.Tensor[],
  both: boolean,
): [first: GradientFunction, second: GradientFunction] {
  const get = sharedGradients((sums) => compute(true, both, sums));
  let computed = false;
  return [
    (sums) => {
      computed = both;
      return get(0)(sums);
    },
    (sums = {}) => computed ? get(1)(sums) : compute(false, true, sums)[0],
  ];
}
