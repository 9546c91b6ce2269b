import { assertEquals } from "@std/assert";
import { codebook, dynamicMap } from "../../../src/ops/updates/dynamic_map.ts";
import { RandomStream } from "../../../src/random.ts";

for (const signed of [true, false]) {
  const values = dynamicMap(signed);
  /** By comparing with every number; in the middle between two, the lower one. */
  const nearest = (value: number): number => {
    let best = 0;
    for (let code = 1; code < 256; code++) {
      const middle = Math.fround(Math.fround(values[code - 1] + values[code]) / 2);
      if (value > middle) best = code;
    }
    return best;
  };

  Deno.test(`a ${signed ? "signed" : "unsigned"} codebook finds the nearest code`, () => {
    const code = new Uint8Array(1), one = new Float32Array(1);
    const found = (value: number): number => {
      one[0] = value;
      codebook(signed).round(one, 1, code, { start: 0, count: 1 });
      return code[0];
    };
    const random = new RandomStream(3, "codes");
    const draw = () =>
      Math.fround(
        (signed ? 2 * random.nextFloat() - 1 : random.nextFloat()) *
          10 ** -(7 * random.nextFloat()),
      );
    for (let i = 0; i < 5000; i++) {
      const value = draw();
      assertEquals(found(value), nearest(value), `${value}`);
    }
    const bits = new Uint32Array(1), float = new Float32Array(bits.buffer);
    for (let code = 0; code < 256; code++) {
      assertEquals(found(values[code]), code);
      if (code === 255) continue;
      // The middle, and the floats on both sides of it.
      float[0] = Math.fround(Math.fround(values[code] + values[code + 1]) / 2);
      for (const step of [0, 1, -2]) {
        bits[0] += step;
        assertEquals(found(float[0]), nearest(float[0]), `${float[0]}`);
      }
    }
    for (const value of [0, -0, 1, -1, 2, -2, Infinity, -Infinity]) {
      assertEquals(found(value), nearest(value), `${value}`);
    }
  });
}
