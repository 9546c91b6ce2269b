/**
 * Runs a kernel as a tfjs kernel, so that tfjs counts and frees what it makes, puts it on the tape,
 * and asks for the gradients that somebody wants, and no others.
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { KernelModule } from "./module.ts";

/** What the body of a kernel works with. */
export interface Launch {
  readonly module: KernelModule;
  /** Address of a tensor's first value. */
  address(tensor: tf.TensorInfo): number;
  /** A new tensor, its values undefined. */
  output(shape: readonly number[], dtype?: "float32" | "int32"): tf.TensorInfo;
  /** Puts integers on the heap while `use` runs, and gives it their addresses. */
  withIntegers<T>(arrays: readonly Int32Array[], use: (addresses: number[]) => T): T;
}

/** Gradients by the name of the input, each computed only where it is needed. */
export type Gradients = Record<string, () => tf.Tensor>;

/** One op: how it runs, what it keeps, how it goes back. */
export interface FusedOp {
  /** Of the kernel; the same name always has the same saved tensors. */
  readonly name: string;
  /** Every tensor that `run` reads. */
  readonly inputs: tf.NamedTensorMap;
  /** Names of the inputs that the backward pass reads. */
  readonly saveInputs?: readonly string[];
  /** For each output, whether the backward pass reads it. */
  readonly saveOutputs?: readonly boolean[];
  /** Computes the outputs. */
  run(launch: Launch): tf.TensorInfo[];
  /** From the gradient of the first output and the saved tensors, inputs first. */
  gradient?(dy: tf.Tensor, saved: tf.Tensor[]): Gradients;
}

/** tfjs types attributes as plain values, yet hands on what it is given. */
interface FusedAttributes {
  readonly op: FusedOp;
}

const registered = new Set<string>();

/** The tools a kernel body gets, on the module's own backend. */
export function launchOn(module: KernelModule): Launch {
  const { backend, memory } = module.heap;
  return {
    module,
    address: (tensor) => backend.dataIdMap.get(tensor.dataId).memoryOffset,
    output: (shape, dtype = "float32") => backend.makeOutput(shape, dtype),
    withIntegers<T>(arrays: readonly Int32Array[], use: (addresses: number[]) => T): T {
      const total = arrays.reduce((sum, array) => sum + array.length, 0);
      const block = module.heap.malloc(total * 4);
      try {
        let address = block;
        const addresses = arrays.map((array) => {
          const start = address;
          new Int32Array(memory.buffer, start, array.length).set(array);
          address += array.length * 4;
          return start;
        });
        return use(addresses);
      } finally {
        module.heap.free(block);
      }
    },
  };
}

function register(op: FusedOp, module: KernelModule): void {
  const tools = launchOn(module);
  tf.registerKernel({
    kernelName: op.name,
    backendName: "wasm",
    kernelFunc: ({ attrs }) => (attrs as unknown as FusedAttributes).op.run(tools),
  });
  tf.registerGradient({
    kernelName: op.name,
    inputsToSave: [...op.saveInputs ?? []],
    outputsToSave: [...op.saveOutputs ?? []],
    gradFunc: (dy, saved, attrs) => {
      const { gradient, name } = (attrs as unknown as FusedAttributes).op;
      if (gradient === undefined) throw new Error(`${name} has no gradient.`);
      return gradient(Array.isArray(dy) ? dy[0] : dy, saved);
    },
  });
}

/**
 * Runs an op and returns its first output; the others live on only where the backward pass reads
 * them.
 */
export function launch<T extends tf.Tensor>(module: KernelModule, op: FusedOp): T {
  const [first, ...others] = launchAll(module, op);
  for (const tensor of others) tensor.dispose();
  return first as T;
}

/** Runs an op and returns all its outputs. */
export function launchAll(module: KernelModule, op: FusedOp): tf.Tensor[] {
  if (!registered.has(op.name)) {
    registered.add(op.name);
    register(op, module);
  }
  const attributes: FusedAttributes = { op };
  const outputs: tf.Tensor | tf.Tensor[] = tf.engine().runKernel(
    op.name,
    op.inputs,
    attributes as unknown as tf.NamedAttrMap,
  );
  return Array.isArray(outputs) ? outputs : [outputs];
}

/** Whether anybody may want this tensor's gradient: false for a variable that is not trained. */
export function wantsGradient(tensor: tf.Tensor): boolean {
  return !(tensor instanceof tf.Variable) || tensor.trainable;
}

/** Gradients that were computed beside a wanted one and that nobody has asked for yet. */
const unclaimed = new Set<tf.Tensor>();

/**
 * Gradients that one kernel computes together, as tfjs asks for them one by one: `compute` runs
 * when the first is asked for, the others wait. Those that nobody asked for are freed when the
 * next op goes back.
 */
export function sharedGradients(compute: () => tf.Tensor[]): (index: number) => () => tf.Tensor {
  for (const tensor of unclaimed) tensor.dispose();
  unclaimed.clear();
  let all: tf.Tensor[] | null = null;
  return (index) => () => {
    if (all === null) {
      // tfjs runs every gradient function in a scope of its own, which would free the others.
      all = compute().map((tensor) => tf.keep(tensor));
      for (const tensor of all) unclaimed.add(tensor);
    }
    const wanted = all[index];
    unclaimed.delete(wanted);
    const result = wanted.clone();
    wanted.dispose();
    return result;
  };
}
