/** Prints the processor seconds of a computation and of a wait, as JSON: `[computed, waited]`. */
import { clockNamed } from "../../src/bench/clock.ts";

const clock = clockNamed("cpu");
const start = clock();
let sum = 0;
for (let i = 0; i < 3e7; i++) sum += Math.sqrt(i);
const computed = clock();
if (!(sum > 0)) throw new Error("Cannot measure: nothing was computed");
await new Promise((done) => setTimeout(done, 300));
console.log(JSON.stringify([computed - start, clock() - computed]));
