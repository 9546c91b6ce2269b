/**
 * Updates of Lion and schedule-free AdamW in WGSL, in place: an invocation takes a value, or four, of
 * a parameter, its gradient and its state. The formulas are in the files of the same names in
 * `src/ops/updates/`.
 *
 * @module
 */
import type { DeviceUpdate, ElementwiseRule } from "../../kernels.ts";
import { currentLaunch } from "../runtime/launch.ts";
import { type LaneValue, laneValue } from "../runtime/lane_value.ts";
import { cachedProgram, grid, type ParameterType, type Program } from "../runtime/program.ts";
import { ownValues } from "./own_values.ts";

const WORKGROUP = 256;

/** A rule's state, its numbers, and what it does with the gradient `g`, scaled already. */
interface RuleSource {
  readonly states: readonly string[];
  readonly numbers: readonly string[];
  /** Reads and writes `w[index]` and the states. */
  readonly body: string;
}

const RULES: Readonly<Record<ElementwiseRule, RuleSource>> = {
  lion: {
    states: ["m"],
    numbers: ["keep", "rate", "beta1", "fresh1", "beta2", "fresh2", "scale"],
    body: `
  let mean = m[index];
  w[index] = w[index] * p.keep - p.rate * sign(p.beta1 * mean + p.fresh1 * g);
  m[index] = p.beta2 * mean + p.fresh2 * g;`,
  },
  schedule_free: {
    states: ["z", "v"],
    numbers: [
      ...["beta2", "fresh2", "correction", "eps", "decay", "share", "pull", "rate", "scale"],
    ],
    body: `
  let y = w[index];
  let end = z[index];
  let second = p.beta2 * v[index] + p.fresh2 * g * g;
  let update = g / (sqrt(second) * p.correction + p.eps) + p.decay * y;
  v[index] = second;
  // From the nearer end, so that a share of 1 gives z itself.
  let moved = select(y + p.share * (end - y), end - (1.0 - p.share) * (end - y), p.share >= 0.5);
  w[index] = moved + p.pull * update;
  z[index] = end - p.rate * update;`,
  },
};

function updateProgram(rule: ElementwiseRule, type: LaneValue["type"]): Program {
  const { states, numbers, body } = RULES[rule];
  return cachedProgram(`${rule} ${type}`, () => ({
    bindings: [
      { name: "gradient", type },
      ...["w", ...states].map((name) => ({ name, type, write: true })),
    ],
    parameters: {
      count: "u32",
      ...Object.fromEntries(numbers.map((name): [string, ParameterType] => [name, "f32"])),
    },
    workgroup: WORKGROUP,
    body: `
  if (index >= p.count) { return; }
  let g = load_gradient(index) * p.scale;${body}`,
  }));
}

/** Updates parameters and their states in place. */
export function inPlace(rule: ElementwiseRule, updates: readonly DeviceUpdate[]): void {
  const l = currentLaunch();
  for (const { parameter, gradient, states, numbers } of updates) {
    const written = [parameter, ...states];
    written.forEach(ownValues);
    const { width, type } = laneValue(parameter.size);
    const count = parameter.size / width;
    l.dispatch(
      updateProgram(rule, type),
      [gradient, ...written].map((tensor) => l.buffer(tensor)),
      { count, ...numbers },
      grid(count, WORKGROUP),
      {
        changing: true,
        flops: 12 * parameter.size,
        bytes: 4 * (2 * written.length + 1) * parameter.size,
      },
    );
    l.submitIfDue();
    written.forEach((tensor) => l.forgetHostCopy(tensor));
  }
}
