/**
 * Counts what a piece of work dispatches: kernels, the bytes that they move, their arithmetic.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { elementCount } from "../../../element_count.ts";
import type { TfjsWebgpuBackend } from "./tfjs_backend.ts";

/** One dispatch of a kernel, or one copy or clearing on the device. */
export interface CountedDispatch {
  /** The program's name; tfjs's own begin with `tfjs `. */
  readonly kernel: string;
  /** Read and written, each operand once: reading it again from a cache is not counted. */
  readonly bytes: number;
  /** Operations on floats, a multiplication and an addition being two; 0 if unknown. */
  readonly flops: number;
}

/** How to count. */
export interface CountingOptions {
  /**
   * Count the kernels of hardware adapters and run none of them: results have no meaning meanwhile.
   * Buffers are allocated as usual.
   */
  readonly asHardware?: boolean;
}

/** The dispatches since its construction. */
export class DispatchCounts {
  readonly dispatches: CountedDispatch[] = [];
  readonly asHardware: boolean;
  readonly #backend: TfjsWebgpuBackend;

  constructor(backend: TfjsWebgpuBackend, { asHardware = false }: CountingOptions) {
    this.#backend = backend;
    this.asHardware = asHardware;
    const record = backend.recordAndSubmit;
    // An own property hides the method until `end`.
    backend.recordAndSubmit = (program, output, inputs, uniforms) => {
      this.add({
        kernel: `tfjs ${program.constructor.name.replace(/Program$/, "")}`,
        bytes: [output, ...inputs].reduce((sum, tensor) => sum + tensorBytes(tensor), 0),
        flops: 0,
      });
      if (!asHardware) record.call(backend, program, output, inputs, uniforms);
    };
  }

  add(dispatch: CountedDispatch): void {
    this.dispatches.push(dispatch);
  }

  /** Restores tfjs's backend. */
  end(): void {
    Reflect.deleteProperty(this.#backend, "recordAndSubmit");
  }
}

/** On the device a value of any type takes four bytes. */
export function tensorBytes({ shape }: Pick<tf.TensorInfo, "shape">): number {
  return 4 * elementCount(shape);
}
