/**
 * AdamW in place and the gradient norm in WGSL. A dispatch takes as many parameters as the adapter can
 * bind buffers for: it costs some µs however small its matrices are, and a step with LoRA trains
 * hundreds of small ones. A workgroup finds its parameter by its number.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import type { AdamWTensors } from "../kernels.ts";
import { elementCount } from "../../element_count.ts";
import type { HalfFileFormat } from "../half/packed_weight.ts";
import { halfCopyToWrite } from "./runtime/half_copies.ts";
import { storedFormat } from "./runtime/half_storage.ts";
import { squaresOf } from "./runtime/squares.ts";
import { currentLaunch, type GpuLaunch, launch } from "./runtime/launch.ts";
import { type LaneValue, laneValue, sumOfLane } from "./runtime/lane_value.ts";
import {
  type Binding,
  type BindingType,
  cachedProgram,
  grid,
  type ParameterType,
  type Program,
} from "./runtime/program.ts";
import { rowReduction } from "./runtime/row_reduction.ts";

const WORKGROUP = 256;

/** How an item of a dispatch is read and written. */
interface ItemTypes {
  readonly value: LaneValue;
  /** Of its gradient. */
  readonly gradient: BindingType;
  /** Whether it has sums of squares already. */
  readonly isSquared?: boolean;
  /** The format of the weight's copy in 16 bits that is written too, if there is one. */
  readonly copy?: HalfFileFormat;
}

/** A parameter's update and the tensor that its copy in 16 bits is written to. */
interface Written<Update extends AdamWTensors> {
  readonly update: Update;
  readonly copy: tf.TensorInfo | null;
}

/** How a gradient is read. */
function typesOf(gradient: tf.TensorInfo, size: number, copy?: tf.TensorInfo | null): ItemTypes {
  const value = laneValue(size);
  const stored = value.width === 4 ? storedFormat(gradient) : undefined;
  const copied = copy ? storedFormat(copy) : undefined;
  return { value, gradient: stored ?? value.type, ...copied && { copy: copied } };
}

/** Groups of items of the same types; `most` tells how many of them a dispatch takes. */
function* launches<T>(
  items: readonly T[],
  typesOf: (item: T) => ItemTypes,
  most: (types: ItemTypes) => number,
): Generator<{ readonly types: ItemTypes; readonly run: readonly T[] }> {
  const byTypes = Map.groupBy(items, (item) => JSON.stringify(typesOf(item)));
  for (const alike of byTypes.values()) {
    const types = typesOf(alike[0]);
    const count = most(types);
    for (let i = 0; i < alike.length; i += count) yield { types, run: alike.slice(i, i + count) };
  }
}

/** A gradient's buffer, as its type says. */
function gradientBuffer(l: GpuLaunch, tensor: tf.TensorInfo, { gradient, value }: ItemTypes) {
  return gradient === value.type ? l.buffer(tensor) : l.words(tensor);
}

/** Bytes of a number of a gradient. */
const gradientBytes = ({ gradient, value }: ItemTypes): number => gradient === value.type ? 4 : 2;

/** The numbers of an update that differ from parameter to parameter. */
const UPDATE_NUMBERS: Readonly<Record<string, ParameterType>> = {
  /** Workgroups of this and all updates before it. */
  end: "u32",
  count: "u32",
  keep: "f32",
  rate: "f32",
  beta1_: "f32",
  beta2_: "f32",
  /** 1 − β: computed from β rounded to float32 it would lose precision. */
  fresh1_: "f32",
  fresh2_: "f32",
  correction: "f32",
  eps: "f32",
  scale: "f32",
};

/** Each name with the number of its item appended. */
function numbered<T>(i: number, named: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(Object.entries(named).map(([name, value]) => [name + i, value]));
}

/** WGSL that runs `at(i, first)` for the item in whose range `place` falls. */
function choose(items: number, place: string, at: (i: number, first: string) => string): string {
  const branches = Array.from(
    { length: items },
    (_, i) => `if (${place} < p.end${i}) { ${at(i, i === 0 ? "0u" : `p.end${i - 1}`)} }`,
  );
  return branches.join("\n      else ");
}

function adamWProgram({ value: { type }, gradient, copy }: ItemTypes, items: number): Program {
  const types = [gradient, type, ...copy === undefined ? [] : [copy]].join(" ");
  return cachedProgram(`adamw ${types} ${items}`, () => {
    const all = Array.from({ length: items }, (_, i) => i);
    return {
      bindings: all.flatMap((i): Binding[] => [
        { name: `gradient${i}`, type: gradient },
        { name: `w${i}`, type, write: true },
        { name: `m${i}`, type, write: true },
        { name: `v${i}`, type, write: true },
        ...copy ? [{ name: `copy${i}`, type: copy, write: true, rounded: true }] : [],
      ]),
      rounds: copy && { format: copy === "BF16" ? "bf16" : "fp16", type },
      parameters: Object.assign({}, ...all.map((i) => numbered(i, UPDATE_NUMBERS))),
      workgroup: WORKGROUP,
      declarations: all.map((i) => `
fn update${i}(at: u32) {
  if (at >= p.count${i}) { return; }
  let g = load_gradient${i}(at) * p.scale${i};
  let first = p.beta1_${i} * m${i}[at] + p.fresh1_${i} * g;
  let second = p.beta2_${i} * v${i}[at] + p.fresh2_${i} * g * g;
  m${i}[at] = first;
  v${i}[at] = second;
  let moved = p.keep${i} * w${i}[at]
    - p.rate${i} * first / (sqrt(second) * p.correction${i} + p.eps${i});
  w${i}[at] = moved;
  ${copy ? `store_copy${i}(at, moved);` : ""}
}`).join(""),
      body: `
      let place = group.y * groups.x + group.x;
      ${choose(items, "place", (i, first) => `update${i}(index - ${first} * ${WORKGROUP}u);`)}`,
    };
  });
}

/**
 * Updates parameters, first and second moments in place; the four tensors of an update have one
 * shape.
 *
 * @returns the updates that were not done because one of the three tensors shares its values
 */
export function adamW<Update extends AdamWTensors>(updates: readonly Update[]): Update[] {
  const l = currentLaunch();
  const written = (update: Update) => [update.parameter, update.firstMoment, update.secondMoment];
  const [own = [], shared = []] = [true, false].map((owns) =>
    updates.filter((update) =>
      written(update).every(({ dataId }) => l.backend.refCount(dataId) === 1) === owns
    )
  );
  // llvmpipe runs every branch, masked: one parameter at a time is not slower there, and is faster
  // for large ones.
  const most = ({ copy }: ItemTypes) =>
    l.isFallback ? 1 : Math.floor(l.bindableBuffers / (copy === undefined ? 4 : 5));
  // The host's copies of earlier readings, and copies in 16 bits, are no longer valid.
  for (const tensor of own.flatMap(written)) l.forgetHostCopy(tensor);
  const items = own.map((update): Written<Update> => {
    return { update, copy: halfCopyToWrite(l.backend, update.parameter) };
  });
  const typesOfItem = ({ update: { gradient, parameter }, copy }: Written<Update>) =>
    typesOf(gradient, parameter.size, copy);
  for (const { types, run } of launches(items, typesOfItem, most)) {
    const { value } = types;
    let end = 0;
    const parameters = run.map(({ update: { parameter, numbers } }, i) => {
      const { learningRate, weightDecay, beta1, beta2, eps, step, gradientScale } = numbers;
      const count = parameter.size / value.width;
      end += Math.ceil(count / WORKGROUP);
      return numbered(i, {
        ...{ end, count, beta1_: beta1, beta2_: beta2, eps, scale: gradientScale },
        ...{ fresh1_: 1 - beta1, fresh2_: 1 - beta2 },
        keep: 1 - learningRate * weightDecay,
        rate: learningRate / (1 - beta1 ** step),
        correction: 1 / Math.sqrt(1 - beta2 ** step),
      });
    });
    const size = run.reduce((sum, { update: { parameter } }) => sum + parameter.size, 0);
    const bytes = gradientBytes(types) + 4 * 6 + (types.copy === undefined ? 0 : 2);
    l.dispatch(
      adamWProgram(types, run.length),
      run.flatMap(({ update, copy }) => [
        gradientBuffer(l, update.gradient, types),
        ...written(update).map((x) => l.buffer(x)),
        ...copy ? [l.words(copy)] : [],
      ]),
      Object.assign({}, ...parameters),
      grid(end, 1),
      { changing: true, flops: 15 * size, bytes: bytes * size },
    );
    l.submitIfDue();
  }
  return shared;
}

/** Columns of the rows that gradients are cut into; a row's squares are summed by a workgroup. */
const ROW = 2048;
/** The same if one lane sums a row. */
const FALLBACK_ROW = 256;

/** Gradients, or sums of their squares → Σ x² of each of their rows, from index `at` on. */
function sumsOfSquares(
  isFallback: boolean,
  columns: number,
  { value: { type }, gradient, isSquared = false }: ItemTypes,
  items: number,
): Program {
  const rows = rowReduction(isFallback, columns);
  const what = isSquared ? "sums of sums" : "sums of squares";
  return cachedProgram(`${what} ${gradient} ${type} ${items} ${rows.workgroup}`, () => {
    const all = Array.from({ length: items }, (_, i) => i);
    return {
      bindings: [
        ...all.map((i): Binding => ({ name: `x${i}`, type: gradient })),
        { name: "sums", type: "f32", write: true },
      ],
      parameters: Object.assign(
        { R: "u32", at: "u32" },
        ...all.map((i) => numbered(i, { end: "u32", count: "u32" })),
      ),
      workgroup: rows.workgroup,
      declarations: rows.declarations + all.map((i) => `
fn squares${i}(row: u32, first: u32, step: u32) -> f32 {
  let end = min((row + 1u) * ${columns}u, p.count${i});
  var sum = ${type}();
  for (var c = row * ${columns}u + first; c < end; c += step) {
    let x = load_x${i}(c);
    sum += ${isSquared ? "x" : "x * x"};
  }
  return ${sumOfLane(type, "sum")};
}`).join(""),
      body: `${rows.begin}
      var sum = 0.0;
      ${choose(items, "row", (i, from) => `sum = squares${i}(row - ${from}, first, step);`)}
      sum = total(sum, lane);
      if (${rows.writes}) { sums[p.at + row] = sum; }`,
    };
  });
}

/** √Σ x over `count` sums: one row, summed by one workgroup on any adapter. */
function rootOfSum(): Program {
  const rows = rowReduction(false, 0);
  return cachedProgram(`root of the sum ${rows.workgroup}`, () => ({
    bindings: [{ name: "sums", type: "f32" }, { name: "norm", type: "f32", write: true }],
    parameters: { R: "u32", count: "u32" },
    workgroup: rows.workgroup,
    declarations: rows.declarations,
    body: `${rows.begin}
      var sum = 0.0;
      for (var i = first; i < p.count; i += step) { sum += load_sums(i); }
      sum = total(sum, lane);
      if (${rows.writes}) { norm[0] = sqrt(sum); }`,
  }));
}

/** √Σ g² over all tensors, as a scalar on the device. */
export function gradientNorm(gradients: readonly tf.Tensor[]): tf.Scalar {
  return launch({
    name: "GpuGradientNorm",
    inputs: Object.fromEntries(gradients.map((gradient, i) => [`g${i}`, gradient])),
    run: (l) => {
      const columns = l.isFallback ? FALLBACK_ROW : ROW;
      const items = gradients.map((gradient): tf.TensorInfo => squaresOf(gradient) ?? gradient);
      const sizeOf = ({ shape }: tf.TensorInfo) => elementCount(shape);
      const rowsOf = (item: tf.TensorInfo) =>
        Math.ceil(sizeOf(item) / laneValue(sizeOf(item)).width / columns);
      const count = items.reduce((sum, item) => sum + rowsOf(item), 0);
      const sums = l.output([count]);
      let at = 0;
      const most = l.bindableBuffers - 1; // one for the sums
      const squared = new Set(gradients.map((gradient) => squaresOf(gradient)));
      const typesOfItem = (item: tf.TensorInfo): ItemTypes => ({
        ...typesOf(item, sizeOf(item)),
        ...squared.has(item) && { isSquared: true },
      });
      for (const { types, run } of launches(items, typesOfItem, () => most)) {
        const { value } = types;
        let R = 0;
        const parameters = run.map((item, i) =>
          numbered(i, { end: R += rowsOf(item), count: sizeOf(item) / value.width })
        );
        const size = run.reduce((sum, item) => sum + sizeOf(item), 0);
        l.dispatch(
          sumsOfSquares(l.isFallback, columns, types, run.length),
          [...run.map((item) => gradientBuffer(l, item, types)), l.buffer(sums)],
          Object.assign({ R, at }, ...parameters),
          rowReduction(l.isFallback, columns).groups(R),
          { flops: 2 * size, bytes: gradientBytes(types) * size + 4 * R },
        );
        at += R;
      }
      const norm = l.output([]);
      l.dispatch(
        rootOfSum(),
        [l.buffer(sums), l.buffer(norm)],
        { R: 1, count },
        rowReduction(false, 0).groups(1),
        { flops: count, bytes: 4 * (count + 1) },
      );
      l.backend.disposeData(sums.dataId);
      return [norm];
    },
  });
}
