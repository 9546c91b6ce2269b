import { assert, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../../../src/device/read_back.ts";
import { valueAndGradients } from "../../../src/ops/tape/backward.ts";
import { bfloat16ToFloat32, float16ToFloat32 } from "../../../src/ops/half/half_precision.ts";
import type { HalfFormat } from "../../../src/ops/half/precision.ts";
import { castHalf, roundHalf, roundHalfOnHost } from "../../../src/ops/half/round_half.ts";
import { onEachBackend } from "../../generate/gpu_test_case.ts";

const FORMATS: readonly HalfFormat[] = ["bf16", "fp16"];

/** Every number of a format, by its bits: 65,536 of them. */
function patterns(format: HalfFormat): Float32Array {
  const bits = Uint16Array.from({ length: 65_536 }, (_, i) => i);
  return format === "bf16" ? bfloat16ToFloat32(bits) : float16ToFloat32(bits);
}

/** The float32 next to x, away from zero or towards it. */
function neighbour(x: number, away: boolean): number {
  const words = new Uint32Array(1);
  const float = new Float32Array(words.buffer);
  float[0] = x;
  words[0] += away ? 1 : -1;
  return float[0];
}

/** A number with what it must be rounded to. */
type Case = readonly [value: number, want: number];

/**
 * What lies between two neighbours of a format, from their values alone: halfway is a tie, which
 * goes to the one whose last bit is 0, and whatever is closer to one of them goes there.
 */
function between(format: HalfFormat): Case[] {
  const all = patterns(format);
  const infinity = format === "bf16" ? 0x7f80 : 0x7c00;
  const cases: Case[] = [];
  for (let bits = 0; bits < infinity; bits++) {
    const low = all[bits];
    // Beyond the largest number stands what would be the next one, were the exponent's range wider.
    const next = bits + 1 === infinity ? 2 * low - all[bits - 1] : all[bits + 1];
    const high = bits + 1 === infinity ? Infinity : next;
    const middle = low / 2 + next / 2;
    if (Math.fround(middle) !== middle) throw new Error("halfway is no float32");
    const pairs: Case[] = [
      [middle, bits % 2 === 0 ? low : high],
      [neighbour(middle, true), high],
    ];
    if (middle > 0 && neighbour(middle, false) > low) pairs.push([neighbour(middle, false), low]);
    for (const [value, want] of pairs) cases.push([value, want], [-value, -want]);
  }
  return cases;
}

/** As the bits of a float32 are, but for the payload of a NaN. */
function assertSameBits(got: Float32Array, want: Float32Array, name: string): void {
  assertEquals(got.length, want.length, name);
  for (let i = 0; i < want.length; i++) {
    assert(Object.is(got[i], want[i]), `${name}: ${i} is ${got[i]}, want ${want[i]}`);
  }
}

async function rounded(values: Float32Array, format: HalfFormat): Promise<Float32Array> {
  const x = tf.tensor1d(values);
  const y = roundHalf(x, format);
  const [found] = await readBack([y]);
  tf.dispose([x, y]);
  return found as Float32Array;
}

/** float32's own subnormal numbers, which a GPU may take for zero. */
const isTiny = (value: number): boolean => value !== 0 && Math.abs(value) < 2 ** -126;

for (const format of FORMATS) {
  onEachBackend(`roundHalf() keeps every ${format} as it is`, async (backend) => {
    const all = patterns(format).map((value) => backend === "webgpu" && isTiny(value) ? 0 : value);
    assertSameBits(await rounded(all, format), all, format);
  });

  onEachBackend(
    `roundHalf() takes what lies between two ${format} to the nearest, ties to even`,
    async (backend) => {
      const cases = between(format).filter(([value]) => backend !== "webgpu" || !isTiny(value));
      const values = Float32Array.from(cases, ([value]) => value);
      const want = Float32Array.from(cases, ([, wanted]) => wanted);
      assertSameBits(await rounded(values, format), want, format);
      assertSameBits(roundHalfOnHost(values, format), want, `${format} on the host`);
    },
  );

  onEachBackend(`roundHalf() to ${format} knows infinity, NaN and both zeros`, async () => {
    const values = Float32Array.of(Infinity, -Infinity, NaN, 0, -0, 3.4e38, -3.4e38, 1e-30);
    // 3.4e38 is more than halfway from bfloat16's largest number to the next power of two.
    const want = [Infinity, -Infinity, NaN, 0, -0, Infinity, -Infinity];
    assertSameBits(roundHalfOnHost(values.subarray(0, 7), format), Float32Array.from(want), format);
    assertSameBits(await rounded(values, format), roundHalfOnHost(values, format), format);
    // A NaN whose payload lies below the bits that stay.
    const words = Uint32Array.of(0x7f800001, 0xff800001, 0x7fffffff, 0xffffffff);
    for (const value of await rounded(new Float32Array(words.buffer), format)) {
      assert(Number.isNaN(value), `${value}`);
    }
  });

  onEachBackend(`roundHalf() to ${format} works on any number of values and shape`, async () => {
    for (const size of [1, 2, 3, 4, 5, 63, 65]) {
      const values = Float32Array.from({ length: size }, (_, i) => Math.sin(i + 1) * 3);
      assertSameBits(await rounded(values, format), roundHalfOnHost(values, format), `${size}`);
    }
    const x = tf.ones([2, 3, 5]);
    const y = roundHalf(x, format);
    assertEquals(y.shape, [2, 3, 5]);
    tf.dispose([x, y]);
  });

  onEachBackend(`castHalf() rounds the gradient to ${format}`, async () => {
    const given = [Float32Array.of(1.2345678, -3.3333333), Float32Array.of(0.1234567, 7.7777777)];
    const [x, dy] = given.map((values) => tf.tensor1d(values));
    const want = given.map((values) => roundHalfOnHost(values, format));
    const { value, gradients } = valueAndGradients(() => castHalf(x, format), [x], dy);
    const [y, dx] = await readBack([value, gradients[0]!]);
    assertSameBits(y as Float32Array, want[0], "value");
    assertSameBits(dx as Float32Array, want[1], "gradient");
    tf.dispose([x, dy, value, ...gradients as tf.Tensor[]]);
  });
}

onEachBackend("castHalf() without a format gives the tensor itself", () => {
  const x = tf.scalar(1.2345678);
  assert(castHalf(x, null) === x);
  x.dispose();
  return Promise.resolve();
}, ["cpu"]);
