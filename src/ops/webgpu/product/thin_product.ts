/**
 * Products with few rows, as decoding has them: C = A Bᵀ with A [M, K], B [N, K] and M at most 8.
 * With tiles, most lanes would compute rows that do not exist.
 * @module
 */
import {
  type Operands,
  operandsName,
  productBindings,
  productRounding,
} from "./product_operands.ts";
import { type Epilogue, epilogueDeclarations, epilogueName, storeSum } from "./product_store.ts";
import { cachedProgram, grid, type Program } from "../runtime/program.ts";

/** Rows at most. */
export const THIN_ROWS = 8;

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/** How the programs differ. */
export interface ThinVariant {
  /** M, rounded up to a power of two. */
  readonly rows: number;
  readonly operands: Operands;
  readonly epilogue: Epilogue;
  /** Whether the adapter is software. */
  readonly isFallback: boolean;
}

/** On a software adapter: a lane has four columns of every row. */
function laneBody({ rows }: ThinVariant, store: (r: number, sum: string) => string): string {
  return `
      let column = index;
      if (column * 4u >= p.N) { return; }
      ${range(rows).map((r) => `var c${r} = vec4<f32>();`).join(" ")}
      for (var k = 0u; k < p.K / 4u; k++) {
        ${
    range(4).map((j) =>
      `let b${j} = load_b(min(p.bOffset + (column * 4u + ${j}u) * p.bStride + k, p.bLast));`
    ).join("\n        ")
  }
        ${
    range(rows).map((r) =>
      `let a${r} = load_a(p.aOffset + ${r}u * p.aStride + k);
        c${r} += vec4<f32>(${range(4).map((j) => `dot(a${r}, b${j})`).join(", ")});`
    ).join("\n        ")
  }
      }
      ${range(rows).map((r) => store(r, `c${r}`)).join("\n      ")}`;
}

/** Lanes of a workgroup, and those that share a column, on hardware. */
const WORKGROUP = 64;
const LANES_OF_COLUMN = 16;

/** On hardware: a workgroup has four columns, 16 lanes each walk over K together. */
function workgroupBody({ rows }: ThinVariant, store: (r: number, sum: string) => string): string {
  const sums = (r: string): string =>
    range(4).map((j) => `column_sum(${j * LANES_OF_COLUMN}u, ${r})`).join(", ");
  return `
      let column = group.y * groups.x + group.x;
      if (column * 4u >= p.N) { return; }
      let row_of_b = column * 4u + lane / ${LANES_OF_COLUMN}u;
      ${range(rows).map((r) => `var c${r} = 0.0;`).join(" ")}
      for (var k = lane % ${LANES_OF_COLUMN}u; k < p.K / 4u; k += ${LANES_OF_COLUMN}u) {
        let b = load_b(min(p.bOffset + row_of_b * p.bStride + k, p.bLast));
        ${
    range(rows).map((r) => `c${r} += dot(load_a(p.aOffset + ${r}u * p.aStride + k), b);`)
      .join("\n        ")
  }
      }
      ${range(rows).map((r) => `partial[${r * WORKGROUP}u + lane] = c${r};`).join("\n      ")}
      workgroupBarrier();
      ${
    range(rows).map((r) => `if (lane == ${r}u) { ${store(r, `vec4<f32>(${sums(`${r}u`)})`)} }`)
      .join("\n      ")
  }`;
}

/** The program; parameters as of every product. */
export function thinProgram(
  variant: ThinVariant,
  parameters: Program["parameters"],
): Program {
  const { rows, operands, epilogue, isFallback } = variant;
  const extras = `${epilogueName(epilogue)}${isFallback ? " lanes" : ""}`;
  const store = (r: number, sum: string): string => {
    const at = `p.cOffset + ${r}u * p.cStride + column`;
    return `if (${r}u < p.M) { ${storeSum(epilogue, at, "column", sum)} }`;
  };
  return cachedProgram(`thin product ${rows} ${operandsName(operands)}${extras}`, () => ({
    bindings: productBindings(operands, epilogue, "vec4<f32>"),
    rounds: productRounding(operands, "vec4<f32>"),
    parameters,
    workgroup: isFallback ? 8 : WORKGROUP,
    declarations: epilogueDeclarations(epilogue, "vec4<f32>") + (isFallback ? "" : `
var<workgroup> partial: array<f32, ${rows * WORKGROUP}>;
fn column_sum(first: u32, row: u32) -> f32 {
  var sum = 0.0;
  for (var i = 0u; i < ${LANES_OF_COLUMN}u; i++) { sum += partial[row * ${WORKGROUP}u + first + i]; }
  return sum;
}`),
    body: isFallback ? laneBody(variant, store) : workgroupBody(variant, store),
  }));
}

/** Workgroups for N columns. */
export function thinGroups(N: number, isFallback: boolean): [number, number, number] {
  const columns = Math.ceil(N / 4);
  return isFallback ? grid(columns, 8) : grid(columns, 1);
}
