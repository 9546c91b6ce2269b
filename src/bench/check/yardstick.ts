/**
 * Fixed work, of which no line of ours is part: what a benchmark's times are divided by, so that a
 * record of one day can be compared with another day of the same machine.
 *
 * @module
 */
import type { Clock } from "../clock.ts";

const SIDE = 320;
const COPIED = 2 ** 24;

/** C += A·B of SIDE × SIDE in plain JavaScript: arithmetic. */
function multiply(a: Float32Array, b: Float32Array, c: Float32Array): void {
  for (let row = 0; row < SIDE; row++) {
    for (let inner = 0; inner < SIDE; inner++) {
      const factor = a[row * SIDE + inner];
      const from = inner * SIDE, to = row * SIDE;
      for (let column = 0; column < SIDE; column++) c[to + column] += factor * b[from + column];
    }
  }
}

/** The yardstick, with the memory that it works on. */
export class Yardstick {
  readonly #a: Float32Array = Float32Array.from({ length: SIDE * SIDE }, (_, i) => i % 7 - 3);
  readonly #b: Float32Array = Float32Array.from({ length: SIDE * SIDE }, (_, i) => i % 5 - 2);
  readonly #c: Float32Array = new Float32Array(SIDE * SIDE);
  readonly #from: Float32Array = new Float32Array(COPIED).fill(1);
  readonly #to: Float32Array = new Float32Array(COPIED);

  /** Compiles the loop and touches the memory. */
  constructor() {
    for (let i = 0; i < 3; i++) this.#run();
  }

  #run(): void {
    multiply(this.#a, this.#b, this.#c);
    this.#to.set(this.#from);
  }

  /** Seconds of one product and one copy, the fastest of `times`. */
  seconds(clock: Clock, times = 5): number {
    let fastest = Infinity;
    for (let i = 0; i < times; i++) {
      const start = clock();
      this.#run();
      fastest = Math.min(fastest, clock() - start);
    }
    return fastest;
  }
}
