import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { pillowResize } from "../../src/image/pillow_resize.ts";

function gradient(width: number, height: number) {
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < data.length; i++) data[i] = (i * 37 + (i >> 3) * 11) & 255;
  return { width, height, data };
}

// Red channel of Pillow 13's Image.fromarray(gradient(5, 4)).resize(…)
Deno.test("pillowResize() shrinks and enlarges like Pillow", () => {
  const image = gradient(5, 4);
  const red = (width: number, height: number, filter: "bicubic" | "bilinear") =>
    [...pillowResize(image, width, height, filter).data].filter((_, i) => i % 3 === 0);
  assertEquals(red(2, 2, "bicubic"), PILLOW.bicubic22);
  assertEquals(red(3, 2, "bilinear"), PILLOW.bilinear32);
  assertEquals(red(7, 3, "bicubic"), PILLOW.bicubic73);
});

const PILLOW = {
  bicubic22: [107, 123, 141, 107],
  bilinear32: [90, 132, 113, 143, 123, 103],
  bicubic73: [
    3,
    70,
    145,
    171,
    116,
    117,
    151,
    78,
    171,
    184,
    54,
    163,
    128,
    22,
    176,
    129,
    110,
    149,
    83,
    87,
    129,
  ],
};

Deno.test("pillowResize() keeps a plain colour plain and clips overshoot", () => {
  const plain = { width: 9, height: 7, data: new Uint8Array(9 * 7 * 3).fill(255) };
  const { data } = pillowResize(plain, 33, 5);
  assertEquals(data.every((value) => value === 255), true);
});

Deno.test("pillowResize() gives the image itself if the size stays", () => {
  const image = gradient(5, 4);
  assertStrictEquals(pillowResize(image, 5, 4), image);
});

Deno.test("pillowResize() takes the height first when Pillow 13 does, and only then", () => {
  const tall = gradient(8, 40);
  assertEquals(pillowResize(tall, 6, 10), pillowResize(tall, 6, 10, "bicubic", "vertical_first"));
  const wide = gradient(40, 8);
  assertEquals(pillowResize(wide, 10, 6), pillowResize(wide, 10, 6, "bicubic", "horizontal_first"));
});

Deno.test("pillowResize() refuses sizes that are none", () => {
  assertThrows(() => pillowResize(gradient(2, 2), 0, 4), RangeError, "0 x 4");
  assertThrows(() => pillowResize(gradient(2, 2), 1.5, 4), RangeError, "1.5 x 4");
});

// Pillow 13's Image.frombytes("RGB", (7, 5), …).resize(size, Image.LANCZOS).
Deno.test("pillowResize() has Pillow's Lanczos, shrinking and enlarging", () => {
  const data = Uint8Array.from({ length: 7 * 5 * 3 }, (_, i) => (i * 37 + i * i * 3) % 256);
  const resized = (width: number, height: number) => [
    ...pillowResize({ width: 7, height: 5, data }, width, height, "lanczos").data,
  ];
  // deno-fmt-ignore
  assertEquals(resized(3, 2), [
    84, 156, 104, 150, 132, 116, 141, 150, 129, 157, 124, 105, 182, 66, 154, 146, 138, 130,
  ]);
  assertEquals(resized(9, 8).slice(0, 12), [0, 11, 89, 102, 132, 0, 140, 202, 125, 55, 144, 233]);
  assertEquals(resized(7, 3).slice(-6), [89, 157, 84, 164, 104, 195]);
});
