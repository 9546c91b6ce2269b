/**
 * Copies of rows in WGSL, for tfjs's SplitV and Concat.
 * @module
 */
import { installCopyKernels, type RowPlace, type Rows } from "../../tape/copy_kernels.ts";
import { areGpuKernelsOn } from "../runtime/enabled.ts";
import { currentLaunch, type GpuLaunch } from "../runtime/launch.ts";
import { cachedProgram, grid } from "../runtime/program.ts";

const WORKGROUP = 256;

function copyRows(l: GpuLaunch, { rows, width }: Rows, from: RowPlace, to: RowPlace): void {
  if (rows * width === 0) return;
  const places = [width, from.offset, from.stride, to.offset, to.stride];
  const fours = places.every((place) => place % 4 === 0);
  const type = fours ? "vec4<f32>" : "f32";
  const program = cachedProgram(`copy rows ${type}`, () => ({
    bindings: [{ name: "x", type }, { name: "y", type, write: true }],
    parameters: {
      count: "u32",
      width: "u32",
      source: "u32",
      sourceStride: "u32",
      target_at: "u32",
      targetStride: "u32",
    },
    workgroup: WORKGROUP,
    body: `
      if (index >= p.count) { return; }
      let row = index / p.width;
      let column = index % p.width;
      let value = load_x(p.source + row * p.sourceStride + column);
      y[p.target_at + row * p.targetStride + column] = value;`,
  }));
  const [columns, source, sourceStride, target, targetStride] = places.map((place) =>
    fours ? place / 4 : place
  );
  const count = rows * columns;
  l.dispatch(
    program,
    [l.buffer(from.tensor), l.buffer(to.tensor)],
    {
      ...{ count, width: columns, source, sourceStride },
      ...{ target_at: target, targetStride },
    },
    grid(count, WORKGROUP),
    { bytes: 8 * rows * width },
  );
}

/** Replaces tfjs's SplitV and Concat. */
export function installGpuCopyKernels(): void {
  installCopyKernels("webgpu", () => {
    if (!areGpuKernelsOn()) return null;
    const l = currentLaunch();
    return {
      output: (shape) => l.output(shape),
      copyRows: (rows, from, to) => copyRows(l, rows, from, to),
    };
  });
}
