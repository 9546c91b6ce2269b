/**
 * The globals of a module: an allow-list of the language and of web APIs that only compute, a
 * replacement for `Deno` that records refused attempts, a console that reports, and timers that end
 * with the call.
 *
 * The child gets this very function as text (see program.ts): it must not use anything from
 * outside its own body.
 */
import type { RealmVoice } from "./realm_voice.ts";

/** Functions of the original globals that the realm still needs. */
export interface RealmGlobals {
  /** No timer of the module outlives the call in which it was set. */
  stopTimers(): void;
  /** The scope's own `addEventListener`. */
  listen(kind: string, listener: (event: Event) => void): void;
  /** States which paths the module may read: absolute, with links resolved; `true` for any. */
  setReads(paths: true | string[]): void;
}

/** Replaces the globals. Called once, before any module of the user. */
export function replaceGlobals(voice: RealmVoice): RealmGlobals {
  const { print, deny, isRefusal, target, watched, advise } = voice;
  const apply = Reflect.apply;
  const realDeno = Deno as unknown as Record<string, unknown>;
  const inspect = Deno.inspect;
  const text = String;
  const define = Object.defineProperty;
  const addListener = addEventListener;

  const reading: Record<string, (...args: unknown[]) => unknown> = Object.create(null);
  let reads: true | string[] = [];
  const realPathSync = realDeno.realPathSync as (path: string | URL) => string;
  const { startsWith, charAt } = String.prototype;
  /**
   * The path with its links resolved. The runtime compares paths as they are written, so a link in a
   * granted folder would lead out of it.
   */
  function withinGrants(path: unknown): unknown {
    if (reads === true) return path;
    const real = realPathSync(path instanceof URL ? path : text(path));
    for (let i = 0; i < reads.length; i++) {
      if (!apply(startsWith, real, [reads[i]])) continue;
      const next = apply(charAt, real, [reads[i].length]);
      if (next === "" || next === "/" || next === "\\") return real;
    }
    return deny(
      `tried to read ${text(path)}: it is a link to ${real}, which is not granted; ` +
        "add it to `allow_read` if it must",
    );
  }
  const verbs: Record<string, [verb: string, grant: string]> = Object.create(null);
  for (
    const name of ["readTextFile", "readFile", "readDir", "stat", "lstat", "realPath", "readLink"]
  ) {
    for (const variant of [name, `${name}Sync`]) {
      verbs[variant] = ["read", "allow_read"];
      const original = realDeno[variant] as (...args: unknown[]) => unknown;
      const isAsync = variant === name && name !== "readDir";
      const checked = (...args: unknown[]): unknown => {
        // Permission errors of realPath name the path, as those of the call itself would.
        const path = withinGrants(args[0]);
        return apply(original, realDeno, [path, ...args.slice(1)]);
      };
      reading[variant] = isAsync
        // deno-lint-ignore require-await -- what it throws must be a rejection
        ? async (...args: unknown[]): Promise<unknown> => checked(...args)
        : checked;
    }
  }
  for (const name of ["connect", "connectTls", "resolveDns"]) {
    verbs[name] = [name === "resolveDns" ? "look up" : "connect to", "allow_net"];
  }
  const doings: Record<string, string> = {
    __proto__: null as never,
    Command: "start a process",
    spawn: "start a process",
    dlopen: "load native code",
    kill: "signal a process",
    exit: "end the process",
    listen: "listen on a port",
    serve: "listen on a port",
    listenTls: "listen on a port",
    listenDatagram: "listen on a port",
    openKv: "open a key-value store",
    writeTextFile: "write",
    writeFile: "write",
    remove: "remove",
    mkdir: "write",
    open: "open",
    create: "write",
  };
  const facade: Record<string, unknown> = {};
  for (const name of Object.keys(realDeno)) {
    const value = realDeno[name];
    if (verbs[name] !== undefined && typeof value === "function") {
      facade[name] = watched(reading[name] ?? value as () => unknown, realDeno, ...verbs[name]);
    } else if (typeof value === "function" && !["inspect"].includes(name)) {
      const base = name.replace(/Sync$/, "");
      const doing = doings[base];
      facade[name] = function (first?: unknown): never {
        const what = typeof first === "string" || first instanceof URL ? ` ${text(first)}` : "";
        return deny(
          `tried to ${doing ?? `call Deno.${name}`}${what}: ${
            base === "open"
              ? "use Deno.readFile(), which `allow_read` can grant"
              : "nothing in the config grants that"
          }`,
        );
      };
    }
  }
  const env = realDeno.env as { get(name: string): string; has(name: string): boolean };
  const envWatch = (call: (name: string) => unknown): (name: string) => unknown => (name) => {
    try {
      return apply(call, env, [text(name)]);
    } catch (error) {
      if (isRefusal(error)) {
        advise(`tried to read the environment variable ${text(name)}`, "allow_env", text(name));
      }
      throw error;
    }
  };
  const noEnv = (): never => deny("tried to read or change the whole environment: never granted");
  facade.env = Object.freeze({
    get: envWatch(env.get),
    has: envWatch(env.has),
    set: noEnv,
    delete: noEnv,
    toObject: noEnv,
  });
  const permissions = realDeno.permissions as Deno.Permissions;
  facade.permissions = Object.freeze({
    query: permissions.query.bind(permissions),
    querySync: permissions.querySync.bind(permissions),
    request: () => deny("tried to ask for permissions: the config alone grants them"),
    requestSync: () => deny("tried to ask for permissions: the config alone grants them"),
  });
  facade.errors = realDeno.errors;
  facade.build = realDeno.build;
  facade.version = realDeno.version;
  facade.args = Object.freeze([]);
  facade.noColor = true;
  facade.inspect = inspect;
  Object.freeze(facade);

  const quiet = ["log", "info", "debug", "warn", "error", "trace", "dir", "table"];
  const console: Record<string, unknown> = {};
  for (const name of ["assert", "clear", "count", "group", "groupEnd", "time", "timeEnd"]) {
    console[name] = () => {};
  }
  for (const name of quiet) {
    console[name] = (...args: unknown[]): void => {
      let line = "";
      try {
        for (let i = 0; i < args.length && line.length < 4000; i++) {
          const shown = typeof args[i] === "string" ? args[i] as string : inspect(args[i], {
            colors: false,
            depth: 3,
            iterableLimit: 20,
            strAbbreviateSize: 500,
          });
          line += (i === 0 ? "" : " ") + shown;
        }
      } catch {
        line = "something that cannot be shown";
      }
      print(line);
    };
  }

  const later = setTimeout;
  const repeatedly = setInterval;
  const forget = clearTimeout;
  type Timer = ReturnType<typeof setTimeout>;
  const timers = new Map<number, Timer>();
  const timer = {
    set: timers.set.bind(timers),
    get: timers.get.bind(timers),
    delete: timers.delete.bind(timers),
    each: timers.forEach.bind(timers),
    clear: timers.clear.bind(timers),
  };
  let timerIds = 0;
  function startTimer(
    start: (call: () => void, ms?: number) => Timer,
    call: unknown,
    ms: number | undefined,
    args: unknown[],
  ): number {
    const id = ++timerIds;
    timer.set(
      id,
      start(() => {
        if (start === later) timer.delete(id);
        if (typeof call === "function") apply(call as () => void, undefined, args);
      }, ms),
    );
    return id;
  }
  function stopTimer(id: unknown): void {
    const found = timer.get(id as number);
    if (found !== undefined) forget(found);
    timer.delete(id as number);
  }
  /** No timer of the module outlives the call in which it was set. */
  function stopTimers(): void {
    timer.each((each) => forget(each));
    timer.clear();
  }
  const realFetch = fetch as (...args: unknown[]) => Promise<unknown>;
  const RealRequest = Request;
  const urlOf = Object.getOwnPropertyDescriptor(Request.prototype, "url")!.get!;
  /** `fetch()` of the runtime reads files too: those are read with Deno.readFile(). */
  // deno-lint-ignore require-await -- what it throws must be a rejection
  async function safeFetch(...args: unknown[]): Promise<unknown> {
    // One request, so that what is checked is what is fetched.
    const request = new RealRequest(args[0] as Request, args[1] as RequestInit);
    const href = apply(urlOf, request, []) as string;
    if (apply(startsWith, href, ["file:"])) {
      return deny(`tried to fetch ${href}: use Deno.readFile(), which \`allow_read\` can grant`);
    }
    return apply(realFetch, undefined, [request]);
  }
  const RealWebSocket = WebSocket;
  const replaced: Record<string, unknown> = {
    Deno: facade,
    console,
    navigator: Object.freeze({ language: "en", languages: ["en"], userAgent: "Deno" }),
    fetch: watched(safeFetch, undefined, "reach", "allow_net"),
    WebSocket: function (...args: unknown[]): unknown {
      try {
        return Reflect.construct(RealWebSocket, args);
      } catch (error) {
        if (isRefusal(error)) {
          advise(`tried to reach ${target(args[0])}`, "allow_net", target(args[0]), error);
        }
        throw error;
      }
    },
    setTimeout: (call: unknown, ms?: number, ...args: unknown[]): number =>
      startTimer(later, call, ms, args),
    setInterval: (call: unknown, ms?: number, ...args: unknown[]): number =>
      startTimer(repeatedly, call, ms, args),
    clearTimeout: (id: unknown): void => stopTimer(id),
    clearInterval: (id: unknown): void => stopTimer(id),
  };

  const kept = new Set(
    ("Object Function Array Number parseFloat parseInt Infinity NaN undefined Boolean String Symbol " +
      "Date Promise RegExp Error AggregateError EvalError RangeError ReferenceError SyntaxError " +
      "TypeError URIError SuppressedError globalThis self JSON Math Intl ArrayBuffer Atomics " +
      "SharedArrayBuffer Uint8Array Int8Array Uint16Array Int16Array Uint32Array Int32Array " +
      "BigUint64Array BigInt64Array Uint8ClampedArray Float16Array Float32Array Float64Array " +
      "DataView Map Set WeakMap WeakSet WeakRef BigInt Iterator AsyncIterator Proxy Reflect " +
      "FinalizationRegistry decodeURI decodeURIComponent encodeURI encodeURIComponent escape " +
      "unescape eval isFinite isNaN Temporal DisposableStack AsyncDisposableStack WebAssembly " +
      "queueMicrotask structuredClone atob btoa performance crypto Crypto SubtleCrypto CryptoKey " +
      "AbortController AbortSignal Blob File FormData Headers Request Response URL URLPattern " +
      "URLSearchParams TextEncoder TextDecoder TextEncoderStream TextDecoderStream " +
      "CompressionStream DecompressionStream ReadableStream WritableStream TransformStream " +
      "CountQueuingStrategy ByteLengthQueuingStrategy Event EventTarget CustomEvent ErrorEvent " +
      "MessageEvent DOMException").split(" "),
  );
  // Keep symbols: the runtime stores its own state under them and needs them to post a message.
  for (const key of Object.getOwnPropertyNames(globalThis)) {
    if (kept.has(key) || Object.hasOwn(replaced, key)) continue;
    Reflect.deleteProperty(globalThis, key);
  }
  for (const name of Object.keys(replaced)) {
    define(globalThis, name, {
      value: replaced[name],
      writable: true,
      configurable: true,
      enumerable: false,
    });
  }
  // Methods of the scope's prototypes (postMessage, close, addEventListener, …).
  for (
    let proto = Object.getPrototypeOf(globalThis);
    proto !== null && proto !== Object.prototype && proto !== EventTarget.prototype;
    proto = Object.getPrototypeOf(proto)
  ) {
    for (const key of Reflect.ownKeys(proto)) Reflect.deleteProperty(proto, key);
  }
  return {
    stopTimers,
    setReads: (paths) => {
      // Before the module runs: later, what a regular expression does may be the module's choice.
      reads = paths === true ? true : paths.map((path) => path.replace(/[\\/]+$/, ""));
    },
    listen: (kind, listener) => apply(addListener, globalThis, [kind, listener]),
  };
}
