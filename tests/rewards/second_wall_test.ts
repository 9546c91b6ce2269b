import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { RewardFailureError, RewardModuleError, RewardSandbox } from "../../src/rewards/mod.ts";
import { SandboxCallError, SandboxedFunctions } from "../../src/rewards/mod.ts";
import { batchOf, TempModules } from "./temp_modules.ts";

const quiet = { log: () => {} };

Deno.test("an empty list grants nothing: no raw imports, no true paths, no working directory", async () => {
  await using modules = await TempModules.write({
    "raw.js":
      'import text from "./own.txt" with { type: "text" }; export const raw = () => [text.length];',
    "where.js": `export const where = ({ completions }) => {
      console.log(import.meta.url);
      try { console.log(Deno.readTextFileSync("deno.json").length, "CWD"); } catch {}
      return completions.map(() => 1);
    };`,
    "own.txt": "own",
  });
  for (const allowRead of [undefined, [], false]) {
    await assertRejects(
      () => RewardSandbox.start([{ module: modules.path("raw.js"), allowRead }], quiet),
      RewardModuleError,
      "files as text are not part of a module",
    );
    await using sandbox = await RewardSandbox.start(
      [{ module: modules.path("where.js"), allowRead }],
      quiet,
    );
    const { functions } = await sandbox.score(batchOf(["x"]));
    assertEquals(functions[0].printed, ["file:///reward/where.js"]);
  }
});

Deno.test("a grant opens its path and not the module's own folder", async () => {
  await using modules = await TempModules.write({
    "module/raw.js":
      'import text from "./own.txt" with { type: "text" }; export const raw = () => [text.length];',
    "module/where.js": `export const where = ({ path }) => {
      console.log(import.meta.url);
      return [Deno.readTextFileSync(path[0]).length];
    };`,
    "module/own.txt": "own",
    "data/five.txt": "12345",
  });
  const allowRead = [modules.path("data")];
  await assertRejects(
    () => RewardSandbox.start([{ module: modules.path("module/raw.js"), allowRead }], quiet),
    RewardModuleError,
    "grant",
  );
  await using sandbox = await RewardSandbox.start(
    [{ module: modules.path("module/where.js"), allowRead }],
    quiet,
  );
  const path = [modules.path("data/five.txt")];
  const { functions, total } = await sandbox.score(batchOf(["x"], { path }));
  assertEquals([total, functions[0].printed], [[5], ["file:///reward/where.js"]]);
  await using own = await RewardSandbox.start(
    [{ module: modules.path("module/raw.js"), allowRead: [modules.path("module/own.txt")] }],
    quiet,
  );
  assertEquals((await own.score(batchOf(["x"]))).total, [3]);
});

Deno.test({
  name: "links in a granted folder do not lead out of it",
  ignore: Deno.build.os === "windows",
  async fn() {
    await using modules = await TempModules.write({
      "links.js": `export async function links({ path }) {
        let turn = 0;
        String.prototype.startsWith = () => true;
        RegExp.prototype[Symbol.replace] = () => "";
        const ways = [
          (p) => fetch({ toString: () => turn++ % 2 === 0 ? "data:text/plain," : "file://" + p }).then((r) => r.text()).then((t) => t || Promise.reject()),
          (p) => fetch(new (class extends Request { get url() { return "data:,"; } })("file://" + p)).then((r) => r.text()),
          (p) => Deno.readTextFileSync(p), (p) => Deno.readTextFile(p), (p) => Deno.readFileSync(p),
          (p) => Deno.stat(p), (p) => Deno.lstatSync(p), (p) => Deno.realPathSync(p),
          (p) => Deno.readTextFileSync(p + "/../secret.txt"),
          (p) => fetch("file://" + p).then((r) => r.text()),
          (p) => [...Deno.readDirSync(p)].length, (p) => new URL("file://" + p) && Deno.readTextFile(new URL("file://" + p)),
        ];
        let got = 0;
        for (const p of path[0]) for (const way of ways) {
          try { await way(p); console.log("GOT", p, String(way)); got++; } catch {}
        }
        return [got];
      }`,
      "data/inner.txt": "inner",
      "secret.txt": "canary",
    });
    await Deno.symlink("../secret.txt", modules.path("data/link.txt"));
    await Deno.symlink("..", modules.path("data/folder"));
    await Deno.symlink("inner.txt", modules.path("data/fine.txt"));
    await Deno.symlink(modules.path("data"), modules.path("alias"));
    const run = async (allowRead: string[], path: string[]) => {
      await using sandbox = await RewardSandbox.start(
        [{ module: modules.path("links.js"), allowRead }],
        quiet,
      );
      const { total, functions } = await sandbox.score(batchOf(["x"], { path: [path] }));
      return { got: total[0], refused: functions[0].refused };
    };
    const out = await run([modules.path("data")], [
      modules.path("data/link.txt"),
      modules.path("data/folder"),
      modules.path("data/folder/secret.txt"),
    ]);
    assertEquals(out.got, 0);
    assertStringIncludes(out.refused.join("\n"), "it is a link to");
    assert((await run([modules.path("data")], [modules.path("data/fine.txt")])).got! >= 6);
    assert((await run([modules.path("alias")], [modules.path("alias/inner.txt")])).got! >= 6);
  },
});

Deno.test("answers are bounded by what went in, and the module stays usable", async () => {
  await using modules = await TempModules.write({
    "large.js": `export const large = (kind) => ({
        numbers: () => new Array(20_000_000).fill(1),
        same: () => { const one = { a: 1 }; return new Array(8_000_000).fill(one); },
        text: () => "x".repeat(40_000_000),
        bytes: () => new Uint8Array(60_000_000),
        deep: () => { let at = {}; for (let i = 0; i < 200_000; i++) at = { at }; return at; },
        wide: () => Object.fromEntries(Array.from({ length: 900_000 }, (_, i) => [i, 0])),
        fine: () => ({ rows: [1, 2, 3] }),
      })[kind]();`,
  });
  await using functions = await SandboxedFunctions.start(
    modules.path("large.js"),
    { memoryMb: 1500, timeoutMs: 30_000 },
    quiet,
  );
  for (const kind of ["numbers", "same", "text", "bytes", "deep", "wide"]) {
    await assertRejects(() => functions.call("large", [kind]), SandboxCallError);
    assertEquals(await functions.call("large", ["fine"]), { rows: [1, 2, 3] }, kind);
  }
});

Deno.test("answers are bounded over a run too", async () => {
  await using modules = await TempModules.write({
    "some.js": "export const some = (n) => new Uint8Array(15 * 2 ** 20);",
  });
  await using functions = await SandboxedFunctions.start(modules.path("some.js"), {}, quiet);
  const error = await assertRejects(async () => {
    for (let i = 0; i < 10; i++) await functions.call("some", [i]);
  }, SandboxCallError);
  assertStringIncludes(error.message, "MB of arguments in 5 calls");
});

Deno.test("names that a module chooses are no names of ours", async () => {
  const one = "({ completions }) => completions.map(() => 1)";
  await using modules = await TempModules.write({
    "odd.js": `const one = ${one};
      export { one as toString, one as constructor, one as valueOf, one as hasOwnProperty, one as __proto__ };`,
    "mine.js": `export const accuracy = ${one}; export const soft_overlong_punishment = ${one};`,
  });
  const log: string[] = [];
  await using sandbox = await RewardSandbox.start([
    { module: modules.path("odd.js"), weights: { valueOf: 2 } },
    { module: modules.path("mine.js") },
    { module: "builtin:accuracy" },
  ], { log: (line) => log.push(line), weights: new Map([["accuracy", 10]]) });
  assertEquals([...sandbox.functions].sort(), [
    "accuracy",
    "constructor",
    "hasOwnProperty",
    "mine.accuracy",
    "mine.soft_overlong_punishment",
    "toString",
    "valueOf",
  ]);
  const weights = Object.fromEntries(
    sandbox.functions.map((name, i) => [name, sandbox.weights[i]]),
  );
  assertEquals([weights.accuracy, weights["mine.accuracy"], weights.valueOf], [10, 1, 2]);
  assertEquals(sandbox.builtin.filter(Boolean).length, 1);
  assertStringIncludes(log.join("\n"), "1 of them are not used");
  const columns = { answer: ["no"], constructor: ["c"], ["__proto__"]: ["p"] };
  const { total, metrics } = await sandbox.score(batchOf(["x"], columns));
  assertEquals(total, [7]);
  assertEquals(metrics["rewards/toString/failed"], 0);
});

Deno.test("a total that is not finite is null", async () => {
  await using modules = await TempModules.write({
    "big.js": "export const big = ({ completions }) => completions.map(() => 1e9);",
  });
  await using sandbox = await RewardSandbox.start(
    [{ module: modules.path("big.js"), weight: 1e300 }],
    quiet,
  );
  assertEquals((await sandbox.score(batchOf(["x"]))).total, [null]);
});

Deno.test("a module's text is shown as its own, cleaned, and within a budget for the run", async () => {
  const escape = "\\u001b[2J\\nwarning: trust me\\r";
  await using modules = await TempModules.write({
    "loud.js": `export const loud = ({ completions }) => {
        for (let i = 0; i < 50; i++) console.log("line " + Math.random());
        try { Deno.readTextFileSync("${escape}" + Math.random()); } catch {}
        throw new Error("${escape}" + Math.random());
      };`,
    "imports.js": `import "./${escape}x.js"; export const f = () => [];`,
    "long.js": `import "./${"x".repeat(2_000_000)}.js"; export const f = () => [];`,
  });
  const log: string[] = [];
  await using sandbox = await RewardSandbox.start([{ module: modules.path("loud.js") }], {
    maxFailuresInARow: 0,
    log: (line) => log.push(line),
  });
  for (let i = 0; i < 30; i++) await sandbox.score(batchOf(["x"]));
  assert(log.length <= 260, `${log.length} lines`);
  for (const line of log) {
    assert(/^(\[reward loud\]|reward loud)/.test(line), line);
    assert(!/\p{Cc}/u.test(line), line);
  }
  for (const name of ["imports.js", "long.js"]) {
    const error = await assertRejects(
      () => RewardSandbox.start([{ module: modules.path(name) }], quiet),
      RewardModuleError,
    );
    assert(!/\p{Cc}/u.test(error.message), error.message);
    assert(error.message.length < 2000);
    assert(error.refused.every((line) => line.length < 1000));
  }
});

Deno.test("processor time of all threads counts towards the time limit", async () => {
  await using modules = await TempModules.write({
    "threads.js": `export async function threads({ completions }) {
        const key = await crypto.subtle.importKey("raw", new Uint8Array(16), "PBKDF2", false, ["deriveBits"]);
        const salt = new Uint8Array(16);
        await Promise.all(Array.from({ length: 6 }, () =>
          crypto.subtle.deriveBits({ name: "PBKDF2", hash: "SHA-512", salt, iterations: 3e7 }, key, 512)));
        return completions.map(() => 1);
      }`,
  });
  await using sandbox = await RewardSandbox.start(
    [{ module: modules.path("threads.js"), timeoutMs: 700 }],
    quiet,
  );
  const { functions } = await sandbox.score(batchOf(["x"]));
  assertEquals([functions[0].timedOut, functions[0].scores], [true, [null]]);
  assertStringIncludes(functions[0].error!, "late");
});

Deno.test({
  name: "a process that ends between calls is replaced at the next call, and counts as a failure",
  ignore: Deno.build.os === "windows",
  async fn() {
    await using modules = await TempModules.write({
      "fine.js": "export const fine = ({ completions }) => completions.map(() => 1);",
    });
    await using sandbox = await RewardSandbox.start([{ module: modules.path("fine.js") }], {
      ...quiet,
      maxFailuresInARow: 3,
    });
    const end = async () => {
      for (const pid of await sandbox.pids()) Deno.kill(pid, "SIGKILL");
      for (let i = 0; i < 300 && (await sandbox.pids()).length > 0; i++) {
        await new Promise((next) => setTimeout(next, 10));
      }
      assertEquals(await sandbox.pids(), [], "none is started before it is needed");
    };
    assertEquals((await sandbox.score(batchOf(["x"]))).total, [1]);
    for (let i = 0; i < 2; i++) {
      await end();
      const { total, functions } = await sandbox.score(batchOf(["x"]));
      assertEquals(total, [1]);
      assertStringIncludes(functions[0].refused.join("\n"), "ended between calls");
    }
    await end();
    await assertRejects(
      () => sandbox.score(batchOf(["x"])),
      RewardFailureError,
      "failed 3 times in a row",
    );
  },
});

Deno.test("no code is made from strings in the module's realm", async () => {
  await using modules = await TempModules.write({
    "strings.js":
      `const kinds = [function () {}, async function () {}, function* () {}, async function* () {}];
      export async function strings({ completions }) {
        const code = "globalThis.made = 1; return 1";
        const ways = [
          () => eval("1"), () => (0, eval)("1"), () => globalThis.eval("1"), () => Reflect.apply(eval, null, ["1"]),
          () => Function(code), () => new Function(code), () => Reflect.construct(Function, [code], Object),
          () => new (class extends Function {})(code),
          ...kinds.map((f) => () => f.constructor(code)),
          ...kinds.map((f) => () => Object.getPrototypeOf(f).constructor("a = " + code, "")),
          () => [].constructor.constructor(code)(), () => console.log.constructor(code)(),
          () => Deno.readFile.constructor(code)(), () => fetch.constructor(code)(),
          () => "x".replace(/x/, Function.bind(null, code)), () => [code].map(Function),
          () => JSON.parse("[1]", Function), () => new Promise(Function(code)),
          () => import("data:text/javascript,export default 1"),
          () => import(URL.createObjectURL(new Blob(["export default 1"], { type: "text/javascript" }))),
          () => new ShadowRealm().evaluate("1"), () => new Worker("data:text/javascript,1"),
          () => structuredClone(Function(code)), () => Iterator.from([code]).map(Function).next(),
        ];
        let made = 0;
        for (const way of ways) { try { await way(); made++; console.log("MADE", String(way)); } catch {} }
        for (const late of ["globalThis.made = 1", new String("globalThis.made = 1")]) { try { setTimeout(late, 0); } catch {} }
        await new Promise((next) => setTimeout(next, 20));
        return completions.map(() => made + ("made" in globalThis ? 100 : 0));
      }`,
  });
  await using sandbox = await RewardSandbox.start([{ module: modules.path("strings.js") }], quiet);
  const { total, functions } = await sandbox.score(batchOf(["x"]));
  assertEquals(functions[0].printed, []);
  assertEquals(total, [0]);
});

Deno.test("functions beyond 64 are told, and so is the host that a redirect leads to", async () => {
  const target = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    () => new Response(""),
  );
  const away = `http://localhost:${target.addr.port}/`;
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    () => Response.redirect(away, 302),
  );
  await using modules = await TempModules.write({
    "many.js": Array.from(
      { length: 70 },
      (_, i) =>
        `export const f${i} = async ({ completions, url }) => {
         ${i === 0 ? "await fetch(url[0]);" : ""} return completions.map(() => 1); };`,
    ).join("\n"),
  });
  const log: string[] = [];
  await using sandbox = await RewardSandbox.start([
    { module: modules.path("many.js"), allowNet: [`127.0.0.1:${server.addr.port}`] },
  ], { log: (line) => log.push(line) });
  assertEquals(sandbox.functions.length, 64);
  assertStringIncludes(log.join("\n"), "exports 70 functions; 6 of them are not used");
  const url = [`http://127.0.0.1:${server.addr.port}/`];
  const { functions } = await sandbox.score(batchOf(["x"], { url }));
  assertStringIncludes(
    functions[0].refused.join("\n"),
    `not granted; add \`allow_net\` for localhost:${target.addr.port}`,
  );
  await server.shutdown();
  await target.shutdown();
});

Deno.test("allow_env takes plain names, and none that steer a process", async () => {
  for (const name of ["LD_PRELOAD", "DENO_DIR", "NODE_OPTIONS", "AWS_*", "", "A=B", "A,B"]) {
    await assertRejects(
      () => RewardSandbox.start([{ module: "builtin:format", allowEnv: [name] }], quiet),
      TypeError,
      "Cannot grant",
    );
  }
});
