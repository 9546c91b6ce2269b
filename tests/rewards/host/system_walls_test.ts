import { assert, assertEquals } from "@std/assert";
import {
  describeSystemWalls,
  findSystemWalls,
  wallPrefix,
} from "../../../src/rewards/host/system_walls.ts";

const all = {
  unshare: "/usr/bin/unshare",
  setpriv: "/usr/bin/setpriv",
  prlimit: "/usr/bin/prlimit",
  perl: "/usr/bin/perl",
};
const none = { unshare: null, setpriv: null, prlimit: null, perl: null };

Deno.test("wallPrefix() enters the namespace before it sets the parent-death signal, which entering clears", () => {
  const prefix = wallPrefix(all, { memoryMb: 512, net: [], read: [] });
  assert(prefix.indexOf(all.unshare) === 0);
  assert(prefix.indexOf(all.setpriv) > 0);
  assert(prefix.indexOf(all.prlimit) > prefix.indexOf(all.setpriv));
  assert(prefix.includes("--fsize=0"));
});

Deno.test("wallPrefix() keeps the network for a module that was granted it", () => {
  assert(!wallPrefix(all, { memoryMb: 512, net: ["example.com"], read: [] }).includes(all.unshare));
});

Deno.test("wallPrefix() uses only what exists", () => {
  assertEquals(wallPrefix(none, { memoryMb: 512, net: [], read: [] }), []);
});

Deno.test("describeSystemWalls() describes what each wall does, or what its absence costs", async () => {
  const lines = await describeSystemWalls();
  const walls = await findSystemWalls();
  assertEquals(lines.length, Deno.build.os === "linux" ? 4 : 1);
  assertEquals(
    lines.filter((line) => /: no \w+: /.test(line)).length,
    Deno.build.os === "linux" ? Object.values(walls).filter((path) => path === null).length : 0,
  );
});
