import { assert, assertEquals, assertRejects } from "@std/assert";
import { RewardModuleError, SandboxedFunctions } from "../../../src/rewards/mod.ts";
import { newestMatch } from "../../../src/rewards/graph/version_range.ts";
import { TempModules } from "../temp_modules.ts";
import { integrityOf, ModuleServer, tarball } from "./module_server.ts";

const FILES = {
  "/reward.ts": `import { two } from "./lib/two.ts";
    console.log("EVALUATED");
    export const score = (n: number): number => n * two;`,
  "/lib/two.ts": "export const two: number = 2;",
};

Deno.test("a remote module without integrity is not evaluated, and the error has the line", async () => {
  await using server = new ModuleServer({ ...FILES });
  await using temp = await TempModules.write({});
  const log: string[] = [];
  const error = await assertRejects(
    () =>
      SandboxedFunctions.start(`${server.origin}/reward.ts`, { cacheDir: temp.path("cache") }, {
        log: (line) => log.push(line),
      }),
    RewardModuleError,
    "states no integrity",
  );
  assertEquals(error.integrity, await integrityOf(`${server.origin}/reward.ts`, temp.path("c2")));
  assert(error.message.includes(error.integrity!));
  assertEquals(log, []);
});

Deno.test("a remote module is fetched once, and runs from the cache when the server is gone", async () => {
  await using temp = await TempModules.write({});
  const cacheDir = temp.path("cache");
  let specifier = "";
  let integrity = "";
  {
    await using server = new ModuleServer({ ...FILES });
    specifier = `${server.origin}/reward.ts`;
    integrity = await integrityOf(specifier, temp.path("other"));
    server.asked.length = 0;
    for (let i = 0; i < 2; i++) {
      await using functions = await SandboxedFunctions.start(specifier, { integrity, cacheDir }, {
        log: () => {},
      });
      assertEquals(await functions.call("score", [21]), 42);
    }
    assertEquals(server.asked, ["/reward.ts", "/lib/two.ts"]);
  }
  await using functions = await SandboxedFunctions.start(specifier, { integrity, cacheDir }, {
    log: () => {},
  });
  assertEquals(await functions.call("score", [3]), 6);
});

Deno.test("a changed file anywhere in the graph stops before anything is evaluated", async () => {
  for (const changed of ["/reward.ts", "/lib/two.ts"] as const) {
    await using server = new ModuleServer({ ...FILES });
    await using temp = await TempModules.write({});
    const specifier = `${server.origin}/reward.ts`;
    const integrity = await integrityOf(specifier, temp.path("other"));
    server.files[changed] = `${FILES[changed]}\nconsole.log("EVALUATED");`;
    const log: string[] = [];
    await assertRejects(
      () =>
        SandboxedFunctions.start(specifier, { integrity, cacheDir: temp.path("cache") }, {
          log: (line) => log.push(line),
        }),
      RewardModuleError,
      "nothing of it was run",
    );
    assertEquals(log, []);
    assertEquals([...Deno.readDirSync(temp.folder)].map(({ name }) => name), ["other"]);
  }
});

Deno.test("a cache that somebody changed is fetched again", async () => {
  await using server = new ModuleServer({ ...FILES });
  await using temp = await TempModules.write({});
  const cacheDir = temp.path("cache");
  const specifier = `${server.origin}/reward.ts`;
  const integrity = await integrityOf(specifier, cacheDir);
  for (const { name } of Deno.readDirSync(cacheDir)) {
    const path = `${cacheDir}/${name}`;
    await Deno.writeTextFile(path, `${await Deno.readTextFile(path)}\nfetch("http://evil/");`);
  }
  await using functions = await SandboxedFunctions.start(specifier, { integrity, cacheDir }, {
    log: () => {},
  });
  assertEquals(await functions.call("score", [1]), 2);
});

Deno.test("a remote module reaches no local file, and no server here unless it is from here", async () => {
  await using temp = await TempModules.write({ "secret.ts": "export const secret = 1;" });
  await using server = new ModuleServer({
    "/file.ts": `import "file://${temp.path("secret.ts")}";`,
    "/other.ts": 'import "http://example.com/x.ts";',
    "/redirect.ts": "->http://example.com/x.ts",
    "/data.ts": 'import "data:text/javascript,1";',
    "/node.ts": 'import "node:fs";',
  });
  for (
    const [path, why] of [
      ["/file.ts", "cannot import local files"],
      ["/other.ts", "come over https"],
      ["/redirect.ts", "come over https"],
      ["/data.ts", "not given to reward modules"],
      ["/node.ts", "not given to reward modules"],
    ]
  ) {
    await assertRejects(
      () => integrityOf(`${server.origin}${path}`, temp.path("cache")),
      RewardModuleError,
      why,
    );
  }
});

Deno.test("a local module with a stated integrity may import what is remote", async () => {
  await using server = new ModuleServer({ ...FILES });
  await using temp = await TempModules.write({
    "local.ts": `export { score } from "${server.origin}/reward.ts";`,
  });
  const cacheDir = temp.path("cache");
  await assertRejects(
    () => SandboxedFunctions.start(temp.path("local.ts"), { cacheDir }),
    RewardModuleError,
    "state the `integrity`",
  );
  assertEquals(server.asked, []);
  const integrity = await integrityOf(temp.path("local.ts"), cacheDir);
  await using functions = await SandboxedFunctions.start(
    temp.path("local.ts"),
    { cacheDir, integrity },
    { log: () => {} },
  );
  assertEquals(await functions.call("score", [4]), 8);
});

Deno.test("a jsr: module is found by its registry's metadata", async () => {
  await using server = new ModuleServer({
    "/@lab/reward/meta.json": JSON.stringify({
      versions: { "1.0.0": {}, "1.2.0": {}, "2.0.0": {} },
    }),
    "/@lab/reward/1.2.0_meta.json": JSON.stringify({
      exports: { ".": "./mod.ts", "./extra": "./sub/extra.ts" },
    }),
    "/@lab/reward/1.2.0/mod.ts":
      'export { score } from "./sub/score.ts"; export { extra } from "jsr:@lab/reward@^1.0.0/extra";',
    "/@lab/reward/1.2.0/sub/score.ts": "export const score = (n: number): number => n + 1;",
    "/@lab/reward/1.2.0/sub/extra.ts": "export const extra = (): number => 9;",
  });
  await using temp = await TempModules.write({});
  Deno.env.set("JSR_URL", server.origin);
  try {
    const cacheDir = temp.path("cache");
    const specifier = "jsr:@lab/reward@^1.0.0";
    const integrity = await integrityOf(specifier, cacheDir);
    await using functions = await SandboxedFunctions.start(specifier, { cacheDir, integrity });
    assertEquals(await functions.call("score", [1]), 2);
    assertEquals(await functions.call("extra", []), 9);
  } finally {
    Deno.env.delete("JSR_URL");
  }
});

Deno.test("an npm: module comes out of its package, with its dependencies", async () => {
  await using server = new ModuleServer({
    "/@lab/reward": JSON.stringify({ versions: { "1.0.1": {} } }),
    "/@lab/reward/-/reward-1.0.1.tgz": await tarball({
      "package.json": JSON.stringify({
        type: "module",
        exports: { ".": { types: "./x.d.ts", import: "./dist/main.js" } },
        dependencies: { helper: "~2.1.0" },
      }),
      "dist/main.js":
        'import { add } from "helper"; import { one } from "./one.js"; export const score = (n) => add(n, one);',
      "dist/one.js": "export const one = 1;",
    }),
    "/helper": JSON.stringify({ versions: { "2.1.3": {}, "2.2.0": {} } }),
    "/helper/-/helper-2.1.3.tgz": await tarball({
      "package.json": JSON.stringify({ module: "esm.js", main: "cjs.js" }),
      "esm.js": "export const add = (a, b) => a + b;",
    }),
  });
  await using temp = await TempModules.write({});
  Deno.env.set("NPM_CONFIG_REGISTRY", server.origin);
  try {
    const cacheDir = temp.path("cache");
    const specifier = "npm:@lab/reward@1";
    const integrity = await integrityOf(specifier, cacheDir);
    await using functions = await SandboxedFunctions.start(specifier, { cacheDir, integrity });
    assertEquals(await functions.call("score", [41]), 42);
  } finally {
    Deno.env.delete("NPM_CONFIG_REGISTRY");
  }
});

Deno.test("newestMatch() reads version ranges", () => {
  const versions = ["0.1.0", "0.1.5", "0.2.0", "1.0.0", "1.2.3", "1.3.0", "2.0.0", "3.0.0-beta.1"];
  const cases: [string | undefined, string | undefined][] = [
    [undefined, "2.0.0"],
    ["1.2.3", "1.2.3"],
    ["^1.2.0", "1.3.0"],
    ["~1.2.0", "1.2.3"],
    ["1", "1.3.0"],
    ["1.x", "1.3.0"],
    ["^0.1.0", "0.1.5"],
    [">=1.0.0", "2.0.0"],
    ["^1 || ^2", "2.0.0"],
    ["3.0.0-beta.1", "3.0.0-beta.1"],
    ["^9", undefined],
    ["nonsense", undefined],
  ];
  for (const [range, want] of cases) assertEquals(newestMatch(versions, range), want, range);
});
