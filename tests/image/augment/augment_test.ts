import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { augment } from "../../../src/image/augment/augment.ts";
import { jpegRoundTrip } from "../../../src/image/augment/jpeg_round_trip.ts";
import {
  type AugmentationOptions,
  type AugmentationPlan,
  augmentationPlan,
  mayFlip,
} from "../../../src/image/augment/plan.ts";
import type { RgbImage } from "../../../src/image/rgb_image.ts";

const NOTHING: AugmentationPlan = {
  crop: null,
  flip: false,
  rotate: 0,
  brightness: 1,
  contrast: 1,
  saturation: 1,
  blur: 0,
  jpegQuality: null,
};

const ALL: AugmentationOptions = {
  crop: 0.3,
  flip: 0.5,
  rotate: 10,
  colour: 0.4,
  blur: 1,
  jpegQuality: 40,
};

/** A picture whose every pixel differs from its neighbours. */
function picture(width = 12, height = 8): RgbImage {
  const data = Uint8Array.from(
    { length: 3 * width * height },
    (_, i) => (i * 37 + (i >> 3) * 11) % 256,
  );
  return { width, height, data };
}

const apply = (image: RgbImage, plan: Partial<AugmentationPlan>) =>
  augment(image, { ...NOTHING, ...plan }, jpegRoundTrip);

const flat = (level: number): RgbImage => ({
  width: 9,
  height: 7,
  data: new Uint8Array(3 * 63).fill(level),
});

Deno.test("a plan without changes gives the same pixels", async () => {
  const image = picture();
  assertEquals(await apply(image, {}), image);
});

Deno.test("a mirror image mirrored again is the picture", async () => {
  const image = picture();
  const once = await apply(image, { flip: true });
  assertEquals([...once.data.subarray(0, 3)], [...image.data.subarray(33, 36)]);
  assertEquals(await apply(once, { flip: true }), image);
});

Deno.test("a quarter turn moves the corner pixels of a square, counterclockwise", async () => {
  const image = picture(5, 5);
  const turned = await apply(image, { rotate: 90 });
  const at = (
    { data }: RgbImage,
    x: number,
    y: number,
  ) => [...data.subarray(3 * (y * 5 + x), 3 * (y * 5 + x) + 3)];
  assertEquals(at(turned, 0, 0), at(image, 4, 0));
  assertEquals(at(turned, 0, 4), at(image, 0, 0));
  assertEquals(at(turned, 2, 2), at(image, 2, 2));
});

Deno.test("rotation, blur and crop leave a flat picture as it is, and keep the size", async () => {
  for (const plan of [{ rotate: 7 }, { blur: 1.5 }, { crop: { x: 0.1, y: 0, size: 0.8 } }]) {
    assertEquals(await apply(flat(90), plan), flat(90), JSON.stringify(plan));
    const { width, height } = await apply(picture(), plan);
    assertEquals([width, height], [12, 8]);
  }
});

Deno.test("blur keeps the mean of a picture that is far from its edges", async () => {
  const image = flat(0);
  image.data.fill(255, 3 * (3 * 9 + 4), 3 * (3 * 9 + 4) + 3);
  const sum = ({ data }: RgbImage) => data.reduce((total, level) => total + level, 0);
  assert(Math.abs(sum(await apply(image, { blur: 0.6 })) - sum(image)) < 0.03 * sum(image));
});

Deno.test("colours: brightness scales, no contrast is flat, no saturation is grey", async () => {
  assertEquals((await apply(flat(100), { brightness: 1.2 })).data[0], 120);
  assertEquals((await apply(flat(250), { brightness: 1.4 })).data[0], 255);
  assertEquals(new Set((await apply(picture(), { contrast: 0 })).data).size <= 2, true);
  const { data } = await apply(picture(), { saturation: 0 });
  for (let i = 0; i < data.length; i += 3) {
    assert(data[i] === data[i + 1] && data[i] === data[i + 2]);
  }
});

Deno.test("JPEG of a low quality differs from the picture more than one of a high quality", async () => {
  const image = picture(32, 32);
  const far = async (jpegQuality: number) => {
    const { data } = await apply(image, { jpegQuality });
    return data.reduce((sum, level, i) => sum + Math.abs(level - image.data[i]), 0);
  };
  const [low, high] = [await far(10), await far(95)];
  assert(low > high && high > 0, `${low} and ${high}`);
});

Deno.test("a plan is a pure function of seed, epoch, row and picture", () => {
  const place = { seed: 1, epoch: 2, row: 3, picture: 0 };
  const plan = augmentationPlan(ALL, place, true);
  assertEquals(augmentationPlan(ALL, place, true), plan);
  for (const key of ["seed", "epoch", "row", "picture"] as const) {
    assertNotEquals(augmentationPlan(ALL, { ...place, [key]: 9 }, true), plan, key);
  }
  assertEquals(
    augmentationPlan(
      { ...ALL, crop: 0, flip: 0, rotate: 0, colour: 0, blur: 0, jpegQuality: null },
      place,
      true,
    ),
    { ...NOTHING, rotate: augmentationPlan({ ...ALL, rotate: 0 }, place, true).rotate },
  );
});

Deno.test("plans stay within their options, and flips come as often as asked", () => {
  let flips = 0;
  for (let row = 0; row < 2000; row++) {
    const plan = augmentationPlan(ALL, { seed: 5, epoch: 0, row, picture: 0 }, true);
    if (plan.flip) flips++;
    assert(Math.abs(plan.rotate) <= 10 && plan.blur <= 1 && plan.jpegQuality! >= 40);
    assert(plan.crop === null || (plan.crop.size >= 0.7 && plan.crop.x + plan.crop.size <= 1));
    for (const factor of [plan.brightness, plan.contrast, plan.saturation]) {
      assert(Math.abs(factor - 1) <= 0.4);
    }
    assertEquals(augmentationPlan(ALL, { seed: 5, epoch: 0, row, picture: 0 }, false).flip, false);
  }
  assert(Math.abs(flips - 1000) < 4 * Math.sqrt(500), `${flips} of 2000`);
});

Deno.test("no picture is mirrored whose texts speak of sides", () => {
  for (
    const text of [
      "on the LEFT",
      "the rightmost one",
      "turn right.",
      "right-hand side",
      "clockwise",
    ]
  ) {
    assertEquals(mayFlip(["what?", text]), false, text);
  }
  for (const text of ["a bright colour", "copyright", "leftover", "frighten"]) {
    assertEquals(mayFlip([text]), true, text);
  }
});
