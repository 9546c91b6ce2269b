import { assertEquals } from "@std/assert";
import { patchPositions } from "../../../../src/model/families/smolvlm/patch_positions.ts";

// Recorded with torch.bucketize on the expressions of the releases, float32.
Deno.test("up to 4.54 and from 5.0 on each patch has its own position", () => {
  for (const version of ["4.46.0", "4.54.1", "5.0.0", "5.24.0", undefined]) {
    for (const side of [4, 16, 24, 27, 32]) assertEquals(patchPositions(side, version), null);
  }
});

Deno.test("4.55 to 4.57 take the position of the row and the column before", () => {
  for (const version of ["4.55.4", "4.57.6"]) {
    assertEquals(
      patchPositions(3, version),
      [0, 0, 1, 0, 0, 1, 3, 3, 4],
    );
  }
});
