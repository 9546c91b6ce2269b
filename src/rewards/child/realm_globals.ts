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
}

/** Replaces the globals. Called once, before any module of the user. */
export function replaceGlobals(voice: RealmVoice): RealmGlobals {
  const { print, refused, deny, isRefusal, target, watched } = voice;
  const apply = Reflect.apply;
  const realDeno = Deno as unknown as Record<string, unknown>;
  const inspect = Deno.inspect;
  const text = String;
  const define = Object.defineProperty;
  const addListener = addEventListener;

  const verbs: Record<string, [verb: string, grant: string]> = {};
  for (
    const name of ["readTextFile", "readFile", "readDir", "stat", "lstat", "realPath", "readLink"]
  ) {
    verbs[name] = ["read", "allow_read"];
    verbs[`${name}Sync`] = ["read", "allow_read"];
  }
  for (const name of ["connect", "connectTls", "resolveDns"]) {
    verbs[name] = [name === "resolveDns" ? "look up" : "connect to", "allow_net"];
  }
  const doings: Record<string, string> = {
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
      facade[name] = watched(value as () => unknown, realDeno, ...verbs[name]);
    } else if (typeof value === "function" && !["inspect"].includes(name)) {
      const base = name.replace(/Sync$/, "");
      const doing = doings[base];
      facade[name] = function (first?: unknown): never {
        const what = typeof first === "string" || first instanceof URL ? ` ${text(first)}` : "";
        return deny(
          `tried to ${doing ?? `call Deno.${name}`}${what}: nothing in the config grants that`,
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
        refused(
          `tried to read the environment variable ${
            text(name)
          }: not granted; add \`allow_env\` if it must`,
        );
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
  const realFetch = fetch;
  const RealWebSocket = WebSocket;
  const replaced: Record<string, unknown> = {
    Deno: facade,
    console,
    navigator: Object.freeze({ language: "en", languages: ["en"], userAgent: "Deno" }),
    fetch: watched(realFetch as (...args: unknown[]) => unknown, undefined, "reach", "allow_net"),
    WebSocket: function (...args: unknown[]): unknown {
      try {
        return Reflect.construct(RealWebSocket, args);
      } catch (error) {
        if (isRefusal(error)) {
          refused(`tried to reach ${target(args[0])}: not granted; add \`allow_net\` if it must`);
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
    listen: (kind, listener) => apply(addListener, globalThis, [kind, listener]),
  };
}
