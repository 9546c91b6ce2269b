/**
 * WGSL programs: a compute shader built from bindings, parameters and a body.
 * @module
 */

import type { PackedFormat } from "../../half/packed_weight.ts";
import { type Rounding, roundingDeclarations, WORDS_OF } from "./rounding.ts";
import { WIDEN } from "./widen.ts";

/**
 * How a binding is read. `texture`: a tensor's values as rows of rgba32float texels; a packed format:
 * its numbers, four at a time, as float32.
 */
export type BindingType = "f32" | "vec4<f32>" | "i32" | "u32" | "texture" | PackedFormat;

/** One resource of a program, in binding order. */
export interface Binding {
  readonly name: string;
  readonly type: BindingType;
  /** Default: read only. */
  readonly write?: boolean;
  /** Whether `load_x` (if written, `store_x`) rounds, as the program's `rounds` says. */
  readonly rounded?: boolean;
}

/** A parameter is 32 bits of a uniform buffer. */
export type ParameterType = "u32" | "f32";

/** The parts of a program. */
export interface ProgramSource {
  readonly name: string;
  readonly bindings: readonly Binding[];
  readonly parameters: Readonly<Record<string, ParameterType>>;
  /** Invocations of a workgroup. */
  readonly workgroup: number;
  /** Whether it uses the type f16, for which the device needs `shader-f16`. */
  readonly usesF16?: boolean;
  /** Gives it `round_half(x)`. */
  readonly rounds?: Rounding;
  /** Declarations before `main`. */
  readonly declarations?: string;
  /**
   * Of `main`. It sees `p` (the parameters), `lane` (in the workgroup), `group` (workgroup id),
   * `index` (of the invocation, workgroups counted along x and y together).
   */
  readonly body: string;
}

/** A program with its WGSL. */
export interface Program extends ProgramSource {
  readonly code: string;
}

/**
 * Iterations that the loops of one invocation may take together: llvmpipe silently ends them after
 * 65,535.
 */
export const MAX_ITERATIONS = 32768;

/** Name of a stored value; a shorter one could be that of a binding, which it would hide. */
const NEW = "new_value";

/** Texels of a row of every texture: a power of two. */
export const TEXTURE_WIDTH = 1024;

function declareBinding({ name, type, write, rounded }: Binding, index: number): string {
  const at = `@group(0) @binding(${index})`;
  const load = (type: string, body: string): string =>
    rounded
      ? `fn read_${name}(i: u32) -> ${type} { ${body} }
fn load_${name}(i: u32) -> ${type} { return round_half(read_${name}(i)); }`
      : `fn load_${name}(i: u32) -> ${type} { ${body} }`;
  if (type === "texture") {
    const place = `vec2<u32>(i & ${TEXTURE_WIDTH - 1}u, i >> ${Math.log2(TEXTURE_WIDTH)}u)`;
    return `${at} var ${name}_texels: texture_storage_2d<rgba32float, read>;
${load("vec4<f32>", `return textureLoad(${name}_texels, ${place});`)}`;
  }
  if (type === "BF16" || type === "F16") {
    const halves = ["x", "y"].flatMap((word) => [`w.${word} & 0xffffu`, `w.${word} >> 16u`]);
    const wide = halves.map((half) => `widen_${name}(${half})`).join(", ");
    const widened = `let w = ${name}[i]; return bitcast<vec4<f32>>(vec4<u32>(${wide}));`;
    const widen = `fn widen_${name}(half: u32) -> u32 { ${WIDEN[type]} }`;
    if (write) {
      const value = `words_of_${type.toLowerCase()}(${rounded ? `round_half(${NEW})` : NEW})`;
      return `${at} var<storage, read_write> ${name}: array<vec2<u32>>;
${widen}
fn load_${name}(i: u32) -> vec4<f32> { ${widened} }
fn store_${name}(i: u32, ${NEW}: vec4<f32>) { ${name}[i] = ${value}; }`;
    }
    return `${at} var<storage, read> ${name}: array<vec2<u32>>;
${widen}
${load("vec4<f32>", widened)}`;
  }
  if (type === "Q8") {
    // Blocks of 9 words: a scale, and 32 signed bytes.
    const body = `let first = (i >> 3u) * 9u;
  let bytes = ${name}[first + 1u + (i & 7u)];
  let numbers = bitcast<vec4<i32>>(vec4<u32>(bytes) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u);
  return bitcast<f32>(${name}[first]) * vec4<f32>(numbers);`;
    return `${at} var<storage, read> ${name}: array<u32>;\n${load("vec4<f32>", body)}`;
  }
  const access = write ? "read_write" : "read";
  const value = rounded ? `round_half(${NEW})` : NEW;
  return `${at} var<storage, ${access}> ${name}: array<${type}>;\n${
    write
      ? `fn load_${name}(i: u32) -> ${type} { return ${name}[i]; }
fn store_${name}(i: u32, ${NEW}: ${type}) { ${name}[i] = ${value}; }`
      : load(type, `return ${name}[i];`)
  }`;
}

/** The functions that pack numbers into words, for the formats that are written. */
function packing(bindings: readonly Binding[]): string {
  const formats = (["BF16", "F16"] as const).filter((format) =>
    bindings.some(({ type, write }) => write && type === format)
  );
  return formats.map((format) => WORDS_OF[format]).join("");
}

/**
 * Builds the WGSL. Each binding `x` has a function `load_x(i)`; those that are written have
 * `store_x(i, value)` too.
 */
export function program(source: ProgramSource): Program {
  const { bindings, parameters, workgroup, usesF16, rounds, declarations = "", body } = source;
  const fields = Object.entries(parameters).map(([name, type]) => `  ${name}: ${type},`);
  const code = `${usesF16 ? "enable f16;\n" : ""}// ${source.name}
struct Parameters {
${fields.join("\n")}
}
${bindings.map(declareBinding).join("\n")}${packing(bindings)}${
    rounds ? roundingDeclarations(rounds) : ""
  }
@group(0) @binding(${bindings.length}) var<uniform> p: Parameters;
${declarations}
@compute @workgroup_size(${workgroup})
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = (group.y * groups.x + group.x) * ${workgroup}u + lane;
${body}
}
`;
  return { ...source, code };
}

const programs = new Map<string, Program>();

/** The program of that name, built once: the same name must always have the same source. */
export function cachedProgram(name: string, source: () => Omit<ProgramSource, "name">): Program {
  let found = programs.get(name);
  if (found === undefined) {
    found = program({ name, ...source() });
    programs.set(name, found);
  }
  return found;
}

/** The parameters as the uniform buffer has them. @throws {Error} if one is missing */
export function parameterWords(
  { name, parameters: types }: Program,
  values: Readonly<Record<string, number>>,
): Uint32Array<ArrayBuffer> {
  const entries = Object.entries(types);
  // A uniform buffer's size is a multiple of 16 bytes.
  const words = new Uint32Array(Math.max(4, Math.ceil(entries.length / 4) * 4));
  const floats = new Float32Array(words.buffer);
  entries.forEach(([key, type], i) => {
    const value = values[key];
    if (value === undefined) throw new Error(`The program ${name} lacks its parameter ${key}.`);
    if (type === "u32") words[i] = value;
    else floats[i] = value;
  });
  return words;
}

/** A grid of workgroups for `count` invocations, within every adapter's limit for a dimension. */
export function grid(count: number, workgroup: number): [number, number, number] {
  const groups = Math.max(1, Math.ceil(count / workgroup));
  const x = Math.min(groups, 32768);
  return [x, Math.ceil(groups / x), 1];
}
