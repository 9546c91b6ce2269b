import { assertEquals, assertThrows } from "@std/assert";
import { checkReply } from "../../../src/rewards/environment/check_reply.ts";

Deno.test("checkReply() takes every form of a reply", () => {
  assertEquals(checkReply(null, 7), { state: 7, done: true, text: "", images: [] });
  assertEquals(checkReply({ done: true, state: 8 }, 7), {
    ...{ state: 8, done: true, text: "", images: [] },
  });
  const file = new Uint8Array(3);
  const pixels = { width: 1, height: 2, data: new Uint8ClampedArray(6) };
  const part = { image: 0, crop: [0, 0.5, 3, 4] as [number, number, number, number] };
  assertEquals(checkReply({ text: "a", images: [file, pixels, part] }, 7), {
    ...{ state: 7, done: false, text: "a", images: [file, pixels, part] },
  });
  assertEquals(checkReply({ text: "a", state: undefined }, 7).state, undefined);
});

for (
  const [reply, text] of [
    ["hello", "it is a string"],
    [undefined, "it is undefined"],
    [[1], "it is a list of 1"],
    [new Uint8Array(2), "want null or"],
    [{}, "neither text nor pictures"],
    [{ done: false, images: [] }, "neither text nor pictures"],
    [{ done: true, text: "bye" }, "never see"],
    [{ done: "yes" }, "its done is a string"],
    [{ text: 5 }, "its text is a number"],
    [{ text: "a", image: 1 }, "it has a key image"],
    [{ text: "a", images: "x" }, "its images are a string"],
    [{ images: new Array(9).fill(new Uint8Array(1)) }, "a list of 9: want a list of 8 at most"],
    [{ images: ["x.png"] }, "images[0] is a string"],
    [{ images: [{ image: 0, crop: [0, 0, 1] }] }, "images[0] is no crop"],
    [{ images: [{ image: -1, crop: [0, 0, 1, 1] }] }, "images[0] is no crop"],
    [{ images: [{ image: 0, crop: [0, 0, NaN, 1] }] }, "images[0] is no crop"],
    [{ images: [{ width: 2, height: 2, data: new Uint8Array(3) }] }, "no pixels that fit"],
    [{ images: [{ width: 0, height: 2, data: new Uint8Array(0) }] }, "no pixels that fit"],
    [
      { images: [{ width: 5000, height: 5000, data: new Uint8Array(75_000_000) }] },
      "5000 x 5000 pixels",
    ],
  ] as const
) {
  Deno.test(`checkReply() refuses a reply: ${text}`, () => {
    assertThrows(() => checkReply(reply, 7), TypeError, text);
  });
}
