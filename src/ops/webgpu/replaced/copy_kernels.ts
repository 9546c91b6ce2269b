/**
 * Copies of rows in WGSL, for tfjs's SplitV and Concat.
 * @module
 */
import { installCopyKernels, type RowPlace, type Rows } from "../../tape/copy_kernels.ts";
import { areGpuKernelsOn } from "../runtime/enabled.ts";
import { canStoreHalf, halfOf, storedFormat } from "../runtime/half_storage.ts";
import { currentLaunch, type GpuLaunch } from "../runtime/launch.ts";
import { cachedProgram, grid } from "../runtime/program.ts";

const WORKGROUP = 256;

function copyRows(l: GpuLaunch, { rows, width }: Rows, from: RowPlace, to: RowPlace): void {
  if (rows * width === 0) return;
  const places = [width, from.offset, from.stride, to.offset, to.stride];
  const fours = places.every((place) => place % 4 === 0);
  const type = fours ? "vec4<f32>" : "f32";
  const [read, written] = [from, to].map(({ tensor }) => fours ? storedFormat(tensor) : undefined);
  const program = cachedProgram(`copy rows ${read ?? type} ${written ?? type}`, () => ({
    bindings: [{ name: "x", type: read ?? type }, {
      name: "y",
      type: written ?? type,
      write: true,
    }],
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
      store_y(p.target_at + row * p.targetStride + column, value);`,
  }));
  const [columns, source, sourceStride, target, targetStride] = places.map((place) =>
    fours ? place / 4 : place
  );
  const count = rows * columns;
  l.dispatch(
    program,
    [read ? l.words(from.tensor) : l.buffer(from.tensor), l.words(to.tensor)],
    {
      ...{ count, width: columns, source, sourceStride },
      ...{ target_at: target, targetStride },
    },
    grid(count, WORKGROUP),
    { bytes: ((read ? 2 : 4) + (written ? 2 : 4)) * rows * width },
  );
}

/** Replaces tfjs's SplitV and Concat. */
export function installGpuCopyKernels(): void {
  installCopyKernels("webgpu", () => {
    if (!areGpuKernelsOn()) return null;
    const l = currentLaunch();
    return {
      output: (shape, sources) => {
        const [half, ...others] = new Set(sources.map(halfOf));
        // Each piece must begin with a whole group of four numbers.
        const inFours = sources.every((source) => canStoreHalf(source.shape));
        return others.length === 0 && inFours ? l.halfOutput(shape, half) : l.output(shape);
      },
      copyRows: (rows, from, to) => copyRows(l, rows, from, to),
    };
  });
}
