/**
 * Elementwise ops in WGSL: each value is computed from the values at the same index.
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { sharedGradients } from "../tape/fused_op.ts";
import type { HalfFormat } from "../half/precision.ts";
import { type GpuLaunch, launch, launchAll } from "./runtime/launch.ts";
import { halfOf, storedFormat } from "./runtime/half_storage.ts";
import { laneValue } from "./runtime/lane_value.ts";
import { type Binding, cachedProgram, grid, type ParameterType } from "./runtime/program.ts";

const WORKGROUP = 256;

/** An op whose output values each depend on the input values at the same index. */
export interface Elementwise<Input extends tf.TensorInfo = tf.Tensor> {
  readonly name: string;
  readonly inputs: readonly Input[];
  /** WGSL that sets `y`, and `y1` of a second output, from `x0`, `x1`, …; all are of type V. */
  readonly body: string;
  readonly declarations?: string;
  /** Gives `body` the function `round_half`; all results are rounded by it. */
  readonly rounds?: HalfFormat;
  readonly parameters?: Readonly<Record<string, ParameterType>>;
  readonly values?: Readonly<Record<string, number>>;
  /** The format in which {@linkcode elementwise} stores the result. */
  readonly stores?: HalfFormat;
  /** Operations of `body` for each value, for the count. */
  readonly flops: number;
}

/**
 * Records it into `outs`, with four values a lane if the size allows. Results that are stored in 16
 * bits are rounded, unless `rounds` says that the body does so.
 */
export function recordInto(
  l: GpuLaunch,
  op: Elementwise<tf.TensorInfo>,
  outs: readonly [tf.TensorInfo, tf.TensorInfo?],
): void {
  const { name, inputs, body } = op;
  const { declarations = "", parameters = {}, values = {} } = op;
  const size = tf.util.sizeFromShape(outs[0].shape);
  const { width, type } = laneValue(size);
  const written = outs.filter((out) => out !== undefined);
  // Words are read four numbers at a time.
  const typeOf = (x: tf.TensorInfo) => width === 4 ? storedFormat(x) ?? type : type;
  const rounds = op.rounds ?? written.map(halfOf).find((half) => half !== null) ?? undefined;
  const read = inputs.map((x, i): Binding => ({ name: `x${i}`, type: typeOf(x) }));
  const results = written.map((out, i): Binding => ({
    ...{ name: i === 0 ? "out" : `out${i}`, type: typeOf(out), write: true },
    rounded: storedFormat(out) !== undefined && op.rounds === undefined,
  }));
  const types = [...read, ...results].map(({ type }) => type);
  const program = cachedProgram(`${name} ${types.join(" ")}`, () => ({
    bindings: [...read, ...results],
    parameters: { count: "u32", ...parameters },
    workgroup: WORKGROUP,
    rounds: rounds && { format: rounds, type },
    declarations: `alias V = ${type};\n${declarations}`,
    body: `
      if (index >= p.count) { return; }
      ${read.map(({ name }) => `let ${name} = load_${name}(index);`).join("\n      ")}
      var y: V;
      ${written.length > 1 ? "var y1: V;" : ""}
      ${body}
      store_out(index, y);
      ${written.length > 1 ? "store_out1(index, y1);" : ""}`,
  }));
  const held = (x: tf.TensorInfo) => width === 4 ? l.words(x) : l.buffer(x);
  l.dispatch(
    program,
    [...inputs, ...written].map(held),
    { count: size / width, ...values },
    grid(size / width, WORKGROUP),
    { flops: op.flops * size },
  );
}

/** Records it into a new tensor. */
function record(l: GpuLaunch, op: Elementwise<tf.TensorInfo>): tf.TensorInfo {
  const out = l.halfOutput(op.inputs[0].shape, op.stores);
  recordInto(l, op, [out]);
  return out;
}

/** Runs it as an op without a gradient. */
export function elementwise(op: Elementwise): tf.Tensor {
  return launch({
    name: op.name,
    inputs: Object.fromEntries(op.inputs.map((tensor, i) => [`x${i}`, tensor])),
    run: (l) => [record(l, op)],
  });
}

/** a + b, of one shape; either may be stored in 16 bits. */
export function add(a: tf.Tensor, b: tf.Tensor): tf.Tensor {
  return elementwise({ name: "GpuAdd", inputs: [a, b], body: "y = x0 + x1;", flops: 1 });
}

/** sum += x, of one shape. */
export function addTo(sum: tf.Tensor, x: tf.Tensor): void {
  launchAll({
    name: "GpuAddTo",
    inputs: { x },
    run: (l) => {
      const body = "y = out[index] + x0;";
      recordInto(l, { name: "add to", inputs: [x], body, flops: 1 }, [l.target(sum.shape, sum)]);
      return [];
    },
  });
}

/** WGSL of GELU's tanh, for values of type V. */
export const GELU = `
fn gelu_tanh(x: V) -> V {
  let inner = 0.7978845608028654 * (x + 0.044715 * x * x * x);
  // 1 − 2 / (e^2u + 1), which neither overflows nor needs the driver's tanh.
  return 1.0 - 2.0 / (exp(clamp(2.0 * inner, V(-80.0), V(80.0))) + 1.0);
}`;

/** Records the tanh-GELU of `x`. */
export function recordGelu(
  l: GpuLaunch,
  x: tf.TensorInfo,
  out = l.output(x.shape),
): tf.TensorInfo {
  const body = "y = 0.5 * x0 * (1.0 + gelu_tanh(x0));";
  recordInto(l, { name: "gelu", inputs: [x], declarations: GELU, body, flops: 15 }, [out]);
  return out;
}

/**
 * tanh-GELU of any shape.
 *
 * @param activated its value, if a product has computed it already
 */
export function gelu(x: tf.Tensor, activated?: tf.TensorInfo): tf.Tensor {
  return launch({
    name: "GpuGelu",
    inputs: { x },
    saveInputs: ["x"],
    run: (l) => [activated ?? recordGelu(l, x)],
    gradient: (dy, [x]) => ({ x: () => geluGradient(x, dy) }),
  });
}

/** Sets `y` to the gradient of GELU by `x`, from `dz`. */
export const GELU_GRADIENT = `let t = gelu_tanh(x);
      let slope = 0.7978845608028654 * (1.0 + 0.134145 * x * x);
      y = dz * (0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * slope);`;

/** The gradient of tanh-GELU by x. */
function geluGradient(x: tf.Tensor, dy: tf.Tensor): tf.Tensor {
  return elementwise({
    name: "GpuGeluDx",
    inputs: [x, dy],
    declarations: GELU,
    body: `let x = x0;
      let dz = x1;
      ${GELU_GRADIENT}`,
    flops: 25,
  });
}

/** WGSL of the sigmoid, for values of type V. */
export const SIGMOID = `
fn sigmoid(x: V) -> V { return 1.0 / (1.0 + exp(clamp(-x, V(-80.0), V(80.0)))); }`;

/** silu(gate) · up, any shape. */
export function swiglu(gate: tf.Tensor, up: tf.Tensor): tf.Tensor {
  return launch({
    name: "GpuSwiglu",
    inputs: { gate, up },
    saveInputs: ["gate", "up"],
    run: (l) => {
      const body = "y = x0 * sigmoid(x0) * x1;";
      const declarations = SIGMOID;
      return [record(l, { name: "swiglu", inputs: [gate, up], declarations, body, flops: 8 })];
    },
    gradient: (dy, [gate, up]) => {
      const both = sharedGradients(() =>
        launchAll({
          name: "GpuSwigluBackward",
          inputs: { gate, up, dy },
          run: (l) => {
            const gradients = [l.output(gate.shape), l.output(up.shape)] as const;
            recordInto(l, {
              name: "swiglu backward",
              inputs: [gate, up, dy],
              declarations: SIGMOID,
              body: `let s = sigmoid(x0);
      y = x2 * x1 * s * (1.0 + x0 * (1.0 - s));
      y1 = x2 * x0 * s;`,
              flops: 14,
            }, gradients);
            return [...gradients];
          },
        })
      );
      return { gate: both(0), up: both(1) };
    },
  });
}

/** The mask of `../activations.ts`: the mixed counter of a value against a threshold. */
const MIX = `
fn mix_word(word: u32) -> u32 {
  let state = word * 747796405u + 2891336453u;
  let shifted = (state >> ((state >> 28u) + 4u)) ^ state;
  let product = shifted * 277803737u;
  return (product >> 22u) ^ product;
}
fn kept(i: u32) -> f32 { return select(p.keep, 0.0, mix_word(i ^ p.key) < p.threshold); }`;

/** Dropout with the mask that the counter gives: any shape. */
export function dropout(x: tf.Tensor, rate: number, key: number): tf.Tensor {
  const mask = laneValue(x.size).width === 4
    ? `V(${[0, 1, 2, 3].map((j) => `kept(4u * index + ${j}u)`).join(", ")})`
    : "kept(index)";
  return launch({
    name: "GpuDropout",
    inputs: { x },
    run: (l) => [
      record(l, {
        name: "dropout",
        inputs: [x],
        declarations: MIX,
        parameters: { key: "u32", threshold: "u32", keep: "f32" },
        values: { key, threshold: Math.ceil(rate * 2 ** 32), keep: 1 / (1 - rate) },
        body: `y = x0 * ${mask};`,
        flops: 1,
      }),
    ],
    gradient: (dy) => ({ x: () => dropout(dy, rate, key) }),
  });
}
