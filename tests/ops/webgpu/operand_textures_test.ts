import { assertEquals, assertThrows } from "@std/assert";
import { OperandTextures } from "../../../src/ops/webgpu/runtime/operand_textures.ts";

/** A device whose textures are their sizes. */
const device = {
  limits: { maxTextureDimension2D: 8 },
  createTexture: ({ size: [width, height] }: { size: number[] }) => ({ width, height }),
} as unknown as GPUDevice;

Deno.test("a slot's texture grows, and the one before is retired", () => {
  const retired: GPUTexture[] = [];
  const textures = new OperandTextures(device, (texture) => void retired.push(texture));
  const small = textures.take("a", 3);
  assertEquals(small.height, 4);
  assertEquals(textures.take("a", 4), small);
  assertEquals(textures.take("b", 1).height, 1);
  assertEquals(retired, []);
  assertEquals(textures.take("a", 5).height, 8);
  assertEquals(retired, [small]);
});

Deno.test("a slot keeps its texture if a larger operand is refused", () => {
  const retired: GPUTexture[] = [];
  const textures = new OperandTextures(device, (texture) => void retired.push(texture));
  const held = textures.take("a", 2);
  assertThrows(() => textures.take("a", 9), RangeError, "Lower the batch size");
  assertEquals(retired, []);
  assertEquals(textures.take("a", 2), held);
});
