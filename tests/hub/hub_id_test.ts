import { assert, assertEquals } from "@std/assert";
import { isDataHubId, parseHubId } from "../../src/hub/hub_id.ts";

Deno.test("parseHubId() tells ids from paths", () => {
  assertEquals(parseHubId("gpt2"), { repo: "gpt2", revision: undefined });
  assertEquals(parseHubId("a/b@pr/1"), { repo: "a/b", revision: "pr/1" });
  for (const path of ["", "./a", "../a/b", "/a/b", "a/b/c", "a\\b", ".a", "a/", "@main"]) {
    assertEquals(parseHubId(path), null, path);
  }
});

Deno.test("isDataHubId() tells ids from paths to files", () => {
  assert(isDataHubId("lmms-lab/multimodal-open-r1-8k-verified"));
  assert(!isDataHubId("./data/train"));
  assert(!isDataHubId("data/train.parquet"));
  assert(!isDataHubId("/data/train"));
});
