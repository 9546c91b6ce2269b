import { assertEquals } from "@std/assert";
import { crc32c, frameRecord } from "../../../src/report/tensorboard/record_frame.ts";

Deno.test("crc32c() gives the sums of RFC 3720, appendix B.4", () => {
  assertEquals(crc32c(new TextEncoder().encode("123456789")), 0xe3069283);
  assertEquals(crc32c(new Uint8Array(32)), 0x8a9136aa);
  assertEquals(crc32c(new Uint8Array(32).fill(0xff)), 0x62a8ab43);
  assertEquals(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i)), 0x46dd794e);
});

Deno.test("frameRecord() holds the length, the record and two sums", () => {
  const frame = frameRecord(new Uint8Array([1, 2, 3]));
  assertEquals(frame.length, 19);
  assertEquals([...frame.subarray(0, 8)], [3, 0, 0, 0, 0, 0, 0, 0]);
  assertEquals([...frame.subarray(12, 15)], [1, 2, 3]);
});
