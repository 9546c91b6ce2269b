/**
 * Updates with state in 8 bits in WGSL, in place: a workgroup takes a block of 256 values, a lane four
 * of them, whose codes are one word. The formulas are in `src/ops/updates/eight_bits.ts`. In a 16-bit
 * pass the gradient is read in 16 bits, and the weight's copy in 16 bits is written too.
 *
 * @module
 */
import type { BlockRule, DeviceUpdate } from "../../kernels.ts";
import type { HalfFileFormat } from "../../half/packed_weight.ts";
import { BLOCK_SIZE, codebook } from "../../updates/dynamic_map.ts";
import { halfCopyToWrite } from "../runtime/half_copies.ts";
import { storedFormat } from "../runtime/half_storage.ts";
import { currentLaunch, type IntegerOwner } from "../runtime/launch.ts";
import { cachedProgram, grid, type ParameterType, type Program } from "../runtime/program.ts";
import { ownValues } from "./own_values.ts";

/** Lanes of a workgroup: a word of four codes each. */
const LANES = BLOCK_SIZE / 4;

/** The moments that a rule keeps, and what it does with the gradient `g` and the weight at `i`. */
interface RuleSource {
  readonly moments: readonly ("m" | "v")[];
  readonly numbers: readonly string[];
  /** Reads and writes `m[j]`, `v[j]` and `w[i]`. */
  readonly body: string;
}

const MEANS = ["keep", "rate", "beta1", "fresh1", "beta2", "fresh2", "scale"];

const RULES: Readonly<Record<BlockRule, RuleSource>> = {
  lion_8bit: {
    moments: ["m"],
    numbers: MEANS,
    body: `
      w[i] = w[i] * p.keep - p.rate * sign(p.beta1 * m[j] + p.fresh1 * g);
      m[j] = p.beta2 * m[j] + p.fresh2 * g;`,
  },
  adamw_8bit: {
    moments: ["m", "v"],
    numbers: [...MEANS, "correction", "eps"],
    body: `
      m[j] = p.beta1 * m[j] + p.fresh1 * g;
      v[j] = p.beta2 * v[j] + p.fresh2 * g * g;
      w[i] = w[i] * p.keep - p.rate * m[j] / (sqrt(v[j]) * p.correction + p.eps);`,
  },
};

/** WGSL that widens a moment's codes into an array of four. */
const widen = (name: string, map: number): string => `
  var ${name}: array<f32, 4>;
  let packed_${name} = select(0u, codes_${name}[word], word * 4u < p.count);
  let scale_${name} = scales_${name}[block];
  for (var j = 0u; j < 4u; j++) {
    ${name}[j] = bitcast<f32>(load_maps(${map}u + ((packed_${name} >> (8u * j)) & 0xffu))) * scale_${name};
  }`;

/** WGSL that rounds a moment to codes again. */
const round = (name: string, map: number): string => `
  var largest_${name} = 0.0;
  for (var j = 0u; j < 4u; j++) {
    if (word * 4u + j < p.count) { largest_${name} = max(largest_${name}, abs(${name}[j])); }
  }
  largest_${name} = largest_of_block(largest_${name}, lane);
  let inverse_${name} = select(0.0, 1.0 / largest_${name}, largest_${name} > 0.0);
  var rounded_${name} = 0u;
  for (var j = 0u; j < 4u; j++) {
    rounded_${name} |= nearest(${name}[j] * inverse_${name}, ${map}u) << (8u * j);
  }
  if (word * 4u < p.count) { codes_${name}[word] = rounded_${name}; }
  if (lane == 0u) { scales_${name}[block] = largest_${name}; }`;

/** What is in 16 bits; undefined: float32, or no copy. */
interface HalfParts {
  readonly gradient?: HalfFileFormat;
  readonly copy?: HalfFileFormat;
}

function blockProgram(rule: BlockRule, { gradient, copy }: HalfParts): Program {
  const { moments, numbers, body } = RULES[rule];
  const all = moments.map((name) => [name, name === "m" ? 0 : BLOCK_SIZE] as const);
  const name = [rule, gradient ?? "f32", ...copy === undefined ? [] : [copy]].join(" ");
  return cachedProgram(name, () => ({
    bindings: [
      { name: "gradient", type: gradient ?? "f32" },
      { name: "maps", type: "u32" },
      { name: "w", type: "f32", write: true },
      ...moments.flatMap((name) => [
        { name: `codes_${name}`, type: "u32" as const, write: true },
        { name: `scales_${name}`, type: "f32" as const, write: true },
      ]),
      ...copy ? [{ name: "copy", type: copy, write: true, rounded: true }] : [],
    ],
    rounds: copy && { format: copy === "BF16" ? "bf16" : "fp16", type: "vec4<f32>" },
    parameters: {
      count: "u32",
      blocks: "u32",
      ...Object.fromEntries(numbers.map((name): [string, ParameterType] => [name, "f32"])),
    },
    workgroup: LANES,
    declarations: `
var<workgroup> largest_of_lane: array<f32, ${LANES}>;
fn largest_of_block(value: f32, lane: u32) -> f32 {
  workgroupBarrier();
  largest_of_lane[lane] = value;
  for (var stride = ${LANES / 2}u; stride > 0u; stride >>= 1u) {
    workgroupBarrier();
    if (lane < stride) { largest_of_lane[lane] = max(largest_of_lane[lane], largest_of_lane[lane + stride]); }
  }
  workgroupBarrier();
  return largest_of_lane[0];
}
// The nearest number of a map, the lower one in the middle between two.
fn nearest(x: f32, map: u32) -> u32 {
  var low = 0u;
  var high = 255u;
  for (var i = 0u; i < 8u; i++) {
    let at = (low + high) / 2u;
    let middle = (bitcast<f32>(load_maps(map + at)) + bitcast<f32>(load_maps(map + min(at + 1u, 255u)))) / 2.0;
    if (low < high) { if (x > middle) { low = at + 1u; } else { high = at; } }
  }
  return low;
}`,
    body: `
  let block = group.y * groups.x + group.x;
  if (block >= p.blocks) { return; }
  let word = block * ${LANES}u + lane;${all.map(([name, map]) => widen(name, map)).join("")}
${gradient ? "  let gradients = load_gradient(min(word, p.count / 4u - 1u));" : ""}
${copy ? "  var moved: vec4<f32>;" : ""}
  for (var j = 0u; j < 4u; j++) {
    let i = word * 4u + j;
    if (i < p.count) {
      let g = ${gradient ? "gradients[j]" : "load_gradient(i)"} * p.scale;${body}
      ${copy ? "moved[j] = w[i];" : ""}
    }
  }
${copy ? "  if (word * 4u < p.count) { store_copy(word, moved); }" : ""}${
      all.map(([name, map]) => round(name, map)).join("")
    }`,
  }));
}

/** The maps stay on the device: nothing disposes of them. */
const forever: IntegerOwner = { onDispose: () => {} };

/** The numbers of both maps, one behind the other, as their bits. */
function maps(): Int32Array {
  const both = new Float32Array(2 * BLOCK_SIZE);
  both.set(codebook(true).values);
  both.set(codebook(false).values, BLOCK_SIZE);
  return new Int32Array(both.buffer);
}

/** Updates a parameter and its packed state in place. */
export function inBlocks(
  rule: BlockRule,
  { parameter, gradient, states, numbers }: DeviceUpdate,
): void {
  const l = currentLaunch();
  const written = [parameter, ...states];
  written.forEach(ownValues);
  // The host's copies of earlier readings, and a copy in 16 bits, are no longer valid.
  written.forEach((tensor) => l.forgetHostCopy(tensor));
  const copy = halfCopyToWrite(l.backend, parameter);
  const types = { gradient: storedFormat(gradient), copy: copy ? storedFormat(copy) : undefined };
  const blocks = Math.ceil(parameter.size / BLOCK_SIZE);
  const mapBuffer = l.integersOf(forever, "dynamic maps", maps);
  // Gradient, weight and codes, the latter two read and written, and the copy.
  const bytes = (types.gradient ? 2 : 4) + 2 * 4 + states.length + (copy ? 2 : 0);
  l.dispatch(
    blockProgram(rule, types),
    [
      types.gradient ? l.words(gradient) : l.buffer(gradient),
      mapBuffer,
      ...written.map((tensor) => l.buffer(tensor)),
      ...copy ? [l.words(copy)] : [],
    ],
    { count: parameter.size, blocks, ...numbers },
    grid(blocks, 1),
    { changing: true, flops: 60 * parameter.size, bytes: bytes * parameter.size },
  );
  l.submitIfDue();
}
