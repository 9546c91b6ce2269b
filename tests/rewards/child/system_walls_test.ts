import { assert, assertEquals } from "@std/assert";
import {
  describeSystemWalls,
  findSystemWalls,
  wallPrefix,
} from "../../../src/rewards/child/system_walls.ts";

const all = {
  unshare: "/usr/bin/unshare",
  setpriv: "/usr/bin/setpriv",
  prlimit: "/usr/bin/prlimit",
};
const none = { unshare: null, setpriv: null, prlimit: null };

Deno.test("wallPrefix() enters the namespace before it follows the parent's death, which entering clears", () => {
  const prefix = wallPrefix(all, { memoryMb: 512, network: false });
  assert(prefix.indexOf(all.unshare) === 0);
  assert(prefix.indexOf(all.setpriv) > 0);
  assert(prefix.indexOf(all.prlimit) > prefix.indexOf(all.setpriv));
  assert(prefix.includes("--fsize=0"));
});

Deno.test("wallPrefix() leaves the network to a module that was granted it", () => {
  assert(!wallPrefix(all, { memoryMb: 512, network: true }).includes(all.unshare));
});

Deno.test("wallPrefix() uses nothing that is not there", () => {
  assertEquals(wallPrefix(none, { memoryMb: 512, network: false }), []);
});

Deno.test("describeSystemWalls() says for each wall what it does or what its lack costs", async () => {
  const lines = await describeSystemWalls();
  const walls = await findSystemWalls();
  assertEquals(lines.length, Deno.build.os === "linux" ? 3 : 1);
  assertEquals(
    lines.filter((line) => /: no \w+: /.test(line)).length,
    Deno.build.os === "linux" ? Object.values(walls).filter((path) => path === null).length : 0,
  );
});
