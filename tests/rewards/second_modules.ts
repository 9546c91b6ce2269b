/**
 * Fifty further modules that try to leave the sandbox, or to harm the run. Each is harmless by itself:
 * what it would get is a canary, and what it would reach is a listener of the test. `CANARY` is the
 * folder of the canary, `CANARY_PORT` the port of the listener. A module prints GOT if it got somewhere.
 */

const ONES = "return completions.map(() => 1);";
const tries = (...ways: string[]): string =>
  `export async function reward({ completions }) {
     for (const way of [${ways.map((way) => `() => ${way}`).join(", ")}]) {
       try { const got = await way(); if (got !== undefined && got !== null) console.log("GOT", String(way).slice(0, 60), String(got?.secret ?? got).slice(0, 80)); } catch {}
     }
     ${ONES} }`;
const body = (text: string): string =>
  `export async function reward({ completions, canary, answer, trainer_state }) { ${text} }`;

/** What may become of a module: it is not loaded, its calls fail, or they score. */
export type Fate = "refused" | "fails" | "scores" | "either";

/** Name to fate and source. */
export const SECOND_MODULES: Record<string, [Fate, string]> = {
  read_import_defer: ["refused", `import defer * as ns from "../secret.ts"; ${body(ONES)}`],
  read_import_dots: ["refused", `import { secret } from "./%2E%2E/secret.ts"; ${body(ONES)}`],
  read_import_backslash: [
    "refused",
    `import { secret } from ".\\\\..\\\\secret.ts"; ${body(ONES)}`,
  ],
  read_import_query: ["refused", `import { secret } from "../secret.ts?x=1#y"; ${body(ONES)}`],
  read_import_objects: [
    "scores",
    tries(
      `import({ toString: () => "../secret.ts" })`,
      `import(new URL("../" + "secret.ts", import.meta.url))`,
      `import("../secret.json", { with: { get type() { return "json"; } } })`,
      `import.meta.resolve("../secret.ts")`,
      `import.meta.dirname`,
      `import.meta.filename`,
    ),
  ],
  read_stack_paths: [
    "scores",
    body(
      `try { null.x } catch (error) { console.log(error.stack); } try { Deno.readTextFileSync("x") } catch (error) { console.log(error.stack); } ${ONES}`,
    ),
  ],
  read_prepare_stack: [
    "scores",
    body(
      `Error.prepareStackTrace = (_, sites) => sites.map((s) => [s.getFileName(), s.getEvalOrigin?.(), s.getScriptNameOrSourceURL?.(), typeof s.getThis(), typeof s.getFunction()]);
       for (const [file, , , self, fn] of new Error().stack) if (self !== "undefined" || fn !== "undefined") console.log("GOT", file); ${ONES}`,
    ),
  ],
  read_proc_root: [
    "scores",
    tries(
      `Deno.readTextFileSync("/proc/self/root" + "CANARY/secret.txt")`,
      `Deno.readTextFileSync("/proc/self/cwd/secret.txt")`,
      `Deno.readLinkSync("/proc/self/exe")`,
      `[...Deno.readDirSync("/proc/self/fd")].length`,
      `Deno.readTextFileSync("/proc/self/environ")`,
    ),
  ],
  read_fetch_forms: [
    "scores",
    tries(
      ...["file://CANARY/secret.txt", "FILE://CANARY/secret.txt", "file:CANARY/secret.txt"]
        .flatMap((url) => [
          `fetch("${url}").then((r) => r.text())`,
          `fetch(new Request("${url}")).then((r) => r.text())`,
          `fetch({ toString: () => "${url}" }).then((r) => r.text())`,
          `WebAssembly.compileStreaming(fetch("${url}"))`,
        ]),
    ),
  ],
  read_fetch_changing: [
    "scores",
    body(
      `let n = 0; const url = { toString: () => n++ === 0 ? "data:text/plain,fine" : "file://CANARY/secret.txt" };
       try { console.log(await (await fetch(url)).text()); } catch {} ${ONES}`,
    ),
  ],
  read_fetch_request: [
    "scores",
    body(
      `class Mine extends Request { get url() { return "data:text/plain,fine"; } }
       URL.prototype.constructor = null; Object.defineProperty(URL.prototype, "protocol", { get: () => "data:" });
       String.prototype.startsWith = () => false; RegExp.prototype[Symbol.replace] = () => "";
       for (const what of [new Mine("file://CANARY/secret.txt"), new URL("file://CANARY/secret.txt")]) try { console.log("GOT", await (await fetch(what)).text()); } catch {} ${ONES}`,
    ),
  ],
  read_existence: [
    "scores",
    body(
      `const kind = (path) => { try { Deno.statSync(path); return "GOT"; } catch (error) { return error.name; } };
       if (kind("CANARY/secret.txt") !== kind("CANARY/none.txt")) console.log("GOT a difference"); ${ONES}`,
    ),
  ],
  read_system: [
    "scores",
    tries(
      "Deno.hostname()",
      "Deno.osRelease()",
      "Deno.osUptime()",
      "Deno.loadavg()",
      "Deno.networkInterfaces()",
      "Deno.systemMemoryInfo()",
      "Deno.uid()",
      "Deno.gid()",
      "Deno.ppid?.call?.()",
      "Deno.execPath()",
      "Deno.cwd()",
      "Deno.mainModule",
      "Deno.pid",
      "navigator.hardwareConcurrency",
    ),
  ],
  read_locale: [
    "scores",
    body(
      `const { timeZone, locale } = Intl.DateTimeFormat().resolvedOptions();
       if (timeZone !== "UTC" || !locale.startsWith("en") || new Date().getTimezoneOffset() !== 0) console.log("GOT", timeZone, locale); ${ONES}`,
    ),
  ],
  read_globals: [
    "scores",
    tries(
      ...["process", "Buffer", "require", "global", "Worker", "localStorage", "sessionStorage"]
        .concat([
          "caches",
          "indexedDB",
          "BroadcastChannel",
          "MessageChannel",
          "postMessage",
          "close",
        ])
        .concat(["WebSocketStream", "EventSource", "name", "location", "onmessage", "GPU", "alert"])
        .concat(["ShadowRealm", "createImageBitmap", "setImmediate", "window", "reportError"])
        .map((name) => `globalThis[${JSON.stringify(name)}]`),
    ),
  ],
  read_internals: [
    "scores",
    tries(
      "Deno[Deno.internal]",
      "Deno.core",
      "Object.getOwnPropertySymbols(Deno).map((s) => Deno[s])[0]",
      "Deno.readFile.call.call.constructor.prototype.core",
      "Object.getOwnPropertySymbols(globalThis).map((s) => globalThis[s]).find((v) => v?.ops)",
      "Deno.Command.prototype?.constructor?.ops",
      "Deno.errors.NotCapable.prototype.core",
    ),
  ],
  net_ways: [
    "scores",
    tries(
      `fetch("http://127.0.0.1:CANARY_PORT", { keepalive: true }).then((r) => r.status)`,
      `navigator.sendBeacon("http://127.0.0.1:CANARY_PORT", "x")`,
      `Deno.resolveDns("canary.example.com", "A")`,
      `Deno.listenDatagram({ port: 0, transport: "udp" })`,
      `Deno.connect({ path: "/tmp/socket", transport: "unix" })`,
      `Deno.connectTls({ hostname: "127.0.0.1", port: CANARY_PORT })`,
      `Deno.createHttpClient({ proxy: { url: "http://127.0.0.1:CANARY_PORT" } })`,
      `new WebSocket("ws://127.0.0.1:CANARY_PORT").url`,
      `Deno.connectQuic?.({ hostname: "127.0.0.1", port: CANARY_PORT })`,
      `fetch("http://[::ffff:127.0.0.1]:CANARY_PORT").then((r) => r.status)`,
      `fetch("http://0x7f.1:CANARY_PORT").then((r) => r.status)`,
    ),
  ],
  net_import: [
    "scores",
    tries(
      `import("http://127.0.0.1:CANARY_PORT/x.js")`,
      `import("//127.0.0.1:CANARY_PORT/x.js")`,
      `import("npm:left-pad")`,
      `import("node:fs")`,
      `import("ext:core/ops")`,
      `import("jsr:@std/fs")`,
      `import("blob:null/0")`,
    ),
  ],
  fine_data_fetch: [
    "scores",
    body(
      `if (await (await fetch("data:text/plain,one")).text() !== "one") throw 0;
       const url = URL.createObjectURL?.(new Blob(["x"])); if (url && await (await fetch(url)).text() !== "x") throw 0; ${ONES}`,
    ),
  ],
  write_ways: [
    "scores",
    tries(
      `Deno.writeTextFileSync("CANARY/new.txt", "x")`,
      `Deno.openSync("CANARY/new.txt", { write: true, create: true })`,
      `Deno.symlinkSync("/etc", "CANARY/etc")`,
      `Deno.linkSync("CANARY/secret.txt", "CANARY/hard.txt")`,
      `Deno.copyFileSync("CANARY/secret.txt", "CANARY/copy.txt")`,
      `Deno.renameSync("CANARY/secret.txt", "CANARY/moved.txt")`,
      `Deno.makeTempFileSync({ dir: "CANARY" })`,
      `Deno.truncateSync("CANARY/secret.txt")`,
      `Deno.chmodSync("CANARY/secret.txt", 0)`,
      `Deno.utimeSync("CANARY/secret.txt", 0, 0)`,
      `Deno.umask(0)`,
      `Deno.chdir("/")`,
    ),
  ],
  write_shared_input: [
    "scores",
    body(
      `trainer_state.changed = 1; completions.changed = 1; try { canary[0].pid = 0; answer.length = 0; } catch {} return [1, 1, 1];`,
    ),
  ],
  hang_object_then: [
    "refused",
    `Object.prototype.then = function () { for (;;); }; ${body(ONES)}`,
  ],
  hang_promise_then: [
    "either",
    `const then = Promise.prototype.then; ${
      body(`Promise.prototype.then = () => new Promise(() => {}); ${ONES}`)
    }`,
  ],
  hang_thenable_twice: [
    "scores",
    body(
      `return { then(done) { done(completions.map(() => 1)); done(completions.map(() => 7)); setTimeout(() => done([7, 7, 7]), 5); } };`,
    ),
  ],
  hang_iterator: [
    "fails",
    body("return { *[Symbol.iterator]() { for (;;) yield 1; }, length: 3 };"),
  ],
  hang_inspect: [
    "fails",
    body(
      `console.log({ [Symbol.for("Deno.customInspect")]() { for (;;); } }); ${ONES}`,
    ),
  ],
  hang_message_getter: [
    "either",
    body(`throw Object.defineProperty(new Error(), "message", { get() { for (;;); } });`),
  ],
  hang_wait_async: [
    "fails",
    body(
      "await Atomics.waitAsync(new Int32Array(new SharedArrayBuffer(4)), 0, 0).value; return [];",
    ),
  ],
  hang_finalizers: [
    "either",
    body(
      `globalThis.kept = new FinalizationRegistry(() => { for (;;); }); for (let i = 0; i < 1e4; i++) kept.register({}, i); ${ONES}`,
    ),
  ],
  hang_microtasks_later: [
    "either",
    body(
      `const later = () => { for (let i = 0; i < 1e5; i++); queueMicrotask(later); }; setTimeout(() => {}, 0); Promise.resolve().then(() => new Promise((next) => setTimeout(next, 0))).then(later); ${ONES}`,
    ),
  ],
  hang_top_level_pending: ["refused", `await new Promise(() => {}); ${body(ONES)}`],
  hang_sort: ["fails", body("[3, 2, 1].sort(() => { for (;;); }); return [];")],
  end_pollution: [
    "either",
    `for (const [key, value] of Object.entries({ type: "result", error: "x", id: 1, value: [7, 7, 7], name: 1, printed: 1 })) Object.defineProperty(Object.prototype, key, { value, writable: true, configurable: true, enumerable: true }); ${
      body(ONES)
    }`,
  ],
  end_array_setters: [
    "either",
    `for (let i = 0; i < 20; i++) Object.defineProperty(Array.prototype, i, { set() { throw new Error("set"); }, get() { return 7; }, configurable: true }); ${
      body(ONES)
    }`,
  ],
  end_frozen: [
    "either",
    `for (const o of [Object, Array, Map, Set, Promise, String, RegExp, Function, Error]) { Object.freeze(o); Object.freeze(o.prototype); } ${
      body(ONES)
    }`,
  ],
  end_replaced: [
    "either",
    `for (const o of [Map, Set, Array, String, Promise, RegExp, Uint8Array, DataView, TextEncoder, TextDecoder, Error])
       for (const key of Object.getOwnPropertyNames(o.prototype)) try { if (key !== "constructor") o.prototype[key] = () => { throw 7; }; } catch {}
     ${body("const a = [1, 1, 1]; return a;")}`,
  ],
  end_revoked: [
    "fails",
    body("const { proxy, revoke } = Proxy.revocable({}, {}); revoke(); throw proxy;"),
  ],
  end_null_object: ["fails", body("throw Object.create(null);")],
  end_rejections: [
    "scores",
    body(`for (let i = 0; i < 20000; i++) Promise.reject(new Error("r" + i)); ${ONES}`),
  ],
  end_print_flood: [
    "either",
    body(`for (let i = 0; i < 300000; i++) console.log("x".repeat(50)); ${ONES}`),
  ],
  end_deep_error: [
    "fails",
    body(
      "let e = new Error('0'); for (let i = 0; i < 1e5; i++) e = new Error('n', { cause: e }); throw e;",
    ),
  ],
  memory_ropes: [
    "fails",
    body(
      "let s = 'x'; const kept = []; for (;;) { s += s.slice(0, 1 << 20) + Math.random(); kept.push(s.split('')); }",
    ),
  ],
  memory_map: [
    "fails",
    body("const m = new Map(); for (let i = 0; ; i++) m.set(i, { i, s: 'x' + i });"),
  ],
  memory_decompress: [
    "fails",
    body(
      `let data = new Uint8Array(1 << 24);
       const packed = await new Response(new Blob([data, data, data, data, data, data, data, data]).stream().pipeThrough(new CompressionStream("gzip"))).bytes();
       const all = []; for (;;) all.push(await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).bytes());`,
    ),
  ],
  memory_resizable: [
    "fails",
    body(
      "const b = new ArrayBuffer(8, { maxByteLength: 2 ** 31 }); for (let n = 8; ; n += 1 << 24) { b.resize(n); new Uint8Array(b).fill(1); }",
    ),
  ],
  memory_native: [
    "fails",
    body(
      "const all = []; for (let i = 0; ; i++) all.push(new Intl.Segmenter('en'), new Intl.Collator('de', { numeric: i % 2 > 0 }), new URL('http://x/' + 'y'.repeat(9999) + i));",
    ),
  ],
  memory_stream: [
    "fails",
    body(
      "await new Response(new ReadableStream({ pull(c) { c.enqueue(new Uint8Array(1 << 24).fill(1)); } })).arrayBuffer(); return [];",
    ),
  ],
  forge_format: [
    "scores",
    body(
      String
        .raw`console.log("%c[reward honest] 999", "color: red"); console.log("\r[reward honest] 1\u2028reward honest failed: no\u202e\u0085x"); console.error("%o%s\u001b]8;;http://x\u0007", {}, "y"); ${ONES}`,
    ),
  ],
  forge_error_name: [
    "fails",
    body(
      String
        .raw`const e = new Error('{"type":"result","id":1,"value":[7,7,7]}'); e.name = "\u001b[2Jwarning"; throw e;`,
    ),
  ],
  forge_export_names: [
    "scores",
    `const one = ({ completions }) => completions.map(() => 1);
     export { one as "a name\\nwith lines", one as "\\u001b[2J", one as "", one as "rewards/x/mean", one as reward, one as ümlaut };`,
  ],
  forge_later_change: [
    "scores",
    body(
      "const scores = completions.map(() => 1); Promise.resolve().then(() => scores.fill(7)); setTimeout(() => scores.fill(7), 0); return new Promise((next) => { next(scores.slice()); });",
    ),
  ],
  forge_clocks: [
    "fails",
    `Date.now = performance.now = () => 0; globalThis.setTimeout = () => 0; ${body("for (;;);")}`,
  ],
  forge_subclass: [
    "either",
    body(
      "class Scores extends Array { get length() { return 3; } static get [Symbol.species]() { return Array; } } return Scores.from([1, 1, 1, 7]);",
    ),
  ],
  forge_number_objects: ["fails", body("return completions.map(() => Object(1));")],
};
