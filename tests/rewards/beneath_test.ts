import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { alive } from "./hostile_range.ts";
import { TempModules } from "./temp_modules.ts";

/**
 * The realm hides the runtime's own objects from a module. These tests run a copy of the sandbox
 * whose realm exposes all of them, as if a module had escaped from it, and check that the other walls
 * hold: no permissions, the key in another isolate, limits, the host.
 */
const library = new URL("../../src/rewards/", import.meta.url);

async function brokenLibrary(to: string): Promise<void> {
  for (
    const folder of [
      "src",
      "src/rewards",
      "src/rewards/child",
      "src/rewards/environment",
      "src/rewards/graph",
      "src/rewards/host",
      "src/config",
    ]
  ) {
    await Deno.mkdir(`${to}/${folder}`, { recursive: true });
    for (const { name, isFile } of Deno.readDirSync(new URL(`../../${folder}/`, library))) {
      if (!isFile) continue;
      let text = await Deno.readTextFile(new URL(`../../${folder}/${name}`, library));
      if (name === "realm_globals.ts") {
        const start = "const apply = Reflect.apply;";
        assert(text.includes(start));
        text = text.replace(
          start,
          `${start}
           const { process, Worker, postMessage, setTimeout: wait } = globalThis;
           Object.defineProperty(globalThis, "escaped", {
             value: { Deno, process, Worker, postMessage, wait },
           });`,
        ).replace("kept.has(key)", 'kept.has(key) || key === "escaped"');
      }
      await Deno.writeTextFile(`${to}/${folder}/${name}`, text);
    }
  }
}

const ESCAPED: Record<string, string> = {
  // Frames, garbage and half frames on every descriptor.
  forge: `const frame = crypto.getRandomValues(new Uint8Array(5000));
    for (let i = 0; i < 20; i++) { escaped.Deno.stdout.writeSync(frame); escaped.Deno.stderr.writeSync(frame); }
    return completions.map(() => 1);`,
  // Any bytes in the pipe.
  steal: `const fs = escaped.process.getBuiltinModule("node:fs");
    const bytes = new Uint8Array(1 << 16);
    for (let i = 0; i < 3; i++) { try { console.log(new TextDecoder("latin1").decode(bytes.subarray(0, fs.readSync(0, bytes)))); } catch (e) { console.log(String(e)); } }
    return completions.map(() => 1);`,
  flood:
    `const bytes = new Uint8Array(1 << 20).fill(65); for (;;) escaped.Deno.stdout.writeSync(bytes);`,
  exit: `escaped.Deno.exit(0); return completions.map(() => 1);`,
  abort: `escaped.process.abort();`,
  forged_post:
    `for (let id = 0; id < 5000; id++) escaped.postMessage({ type: "result", id, value: completions.map(() => 9), error: null });
    return new Promise(() => {});`,
  strange_post:
    `for (const m of [null, 1, { type: "parsed" }, { type: "linked", names: 5 }, { type: "printed", line: {} }, { type: "printed" }]) escaped.postMessage(m);
    return completions.map(() => 1);`,
  workers: `const code = "const k=[];for(;;){k.push(new Uint8Array(1<<24).fill(1))}";
    for (let i = 0; i < 8; i++) new escaped.Worker("data:text/javascript," + code, { type: "module" });
    return new Promise(() => {});`,
  rights: `const path = "SECRET_PATH", port = SECRET_PORT;
    const { Deno: D, process } = escaped;
    const node = (name) => process.getBuiltinModule("node:" + name);
    const tries = [
      () => D.readTextFileSync(path), () => node("fs").readFileSync(path, "utf8"), () => D.env.toObject(), () => process.env.NANOVLM_CANARY,
      () => D.writeTextFileSync(path + ".written", "x"), () => node("fs").writeFileSync(path + ".written", "x"),
      () => D.connect({ port }), () => void node("net").connect(port).on("error", () => {}), () => void node("http").get("http://127.0.0.1:" + port).on("error", () => {}),
      () => new D.Command("cat", { args: [path] }).outputSync().stdout, () => node("child_process").execSync("cat " + path), () => D.dlopen("libc.so.6", {}),
      () => void new (node("worker_threads").Worker)("console.log(require('fs').readFileSync('" + path + "','utf8'))", { eval: true }),
      () => navigator.gpu, () => D.kill(D.ppid), () => D.openKv(path + ".written"), () => new (node("sqlite").DatabaseSync)(path + ".written"),
      () => D[D.internal].core.ops.op_read_file_text_sync?.(path), () => D.makeTempFileSync(), () => D.hostname(), () => process.kill(process.ppid, 9),
    ];
    for (const attempt of tries) { try { const got = await attempt(); if (got !== undefined) console.log("GOT", attempt, String(got).slice(0, 60)); } catch {} }
    console.log("all were tried");
    await new Promise((resolve) => escaped.wait(resolve, 100));
    return completions.map(() => 1);`,
};

/** Allowed scores beside null. */
const FINE: Record<string, (number | null)[]> = {
  forge: [1],
  steal: [1],
  strange_post: [1],
  rights: [1],
  exit: [1],
  forged_post: [9],
};

Deno.test({
  name: "without the wall of the realm, the other walls hold",
  ignore: Deno.build.os !== "linux",
  async fn(t) {
    await using temp = await TempModules.write({ "secret.txt": "canary-beneath" });
    await brokenLibrary(temp.folder);
    let packets = 0;
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    (async () => {
      for await (const connection of listener) {
        packets++;
        connection.close();
      }
    })().catch(() => {});
    Deno.env.set("NANOVLM_CANARY", "canary-beneath");
    const { RewardSandbox } = await import(`file://${temp.folder}/src/rewards/mod.ts`);
    await Deno.writeTextFile(
      temp.path("honest.js"),
      "export const honest = ({ completions }) => completions.map((text) => text.length);",
    );
    await using honest = await RewardSandbox.start([{ module: temp.path("honest.js") }]);
    for (const [name, body] of Object.entries(ESCAPED)) {
      await t.step(name, async () => {
        const text = body.replaceAll("SECRET_PATH", temp.path("secret.txt"))
          .replaceAll("SECRET_PORT", String(listener.addr.port));
        await Deno.writeTextFile(
          temp.path(`${name}.js`),
          `export async function ${name}({ completions }) { ${text} }`,
        );
        const log: string[] = [];
        const pids = new Set<number>();
        {
          await using sandbox = await RewardSandbox.start([
            {
              module: temp.path(`${name}.js`),
              timeoutMs: name === "rights" ? 5000 : 700,
              memoryMb: 300,
            },
          ], { maxFailuresInARow: 0, log: (line: string) => log.push(line) });
          for (let i = 0; i < 2; i++) {
            for (const pid of await sandbox.pids()) pids.add(pid);
            const batch = { prompts: ["canary-beneath"], completions: ["canary-beneath"] };
            const scored = sandbox.score(batch);
            const other = honest.score({ prompts: ["x"], completions: ["x".repeat(i + 1)] });
            const { total } = await scored;
            assert(total[0] === null || FINE[name]?.includes(total[0]), `${name} scored ${total}`);
            assertEquals((await other).total, [i + 1]);
          }
        }
        assertEquals(log.filter((line) => /canary-beneath|GOT/.test(line)), [], name);
        if (name === "rights") assertStringIncludes(log.join("\n"), "all were tried");
        assert(log.join("").length < 40_000, `${name} made the host keep ${log.join("").length}`);
        assertEquals([...pids].filter(alive), [], `${name} left processes`);
        assertEquals(packets, 0, `${name} reached the listener`);
        const written = [...Deno.readDirSync(temp.folder)].filter((file) =>
          /written/.test(file.name)
        );
        assertEquals(written, [], `${name} wrote`);
      });
    }
    Deno.env.delete("NANOVLM_CANARY");
  },
});
