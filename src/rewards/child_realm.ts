/**
 * The inner side of the child: runs in a Worker of the child process, links the checked modules
 * and calls their functions. It shares its isolate with the reward module, so nothing in here is
 * trusted by anyone: what it reports is checked by the guard, which runs in another isolate, and
 * again by the host. What it takes away from the module (the real `Deno`, `process`, Workers, the
 * loader) is a second wall; the first is that the process has no permissions.
 *
 * The child gets this very function as text (see child_program.ts): it must not use anything from
 * outside its own body.
 */
import type { Codec } from "./codec.ts";
import type {
  ImportRequest,
  ModuleSource,
  RealmOrder,
  RealmReport,
  Resolutions,
} from "./protocol.ts";

/** A `vm.SourceTextModule` or `vm.SyntheticModule`, as far as it is used here. */
export interface VmModule {
  identifier: string;
  status: string;
  namespace: Record<string, unknown>;
  moduleRequests: { specifier: string; attributes: Record<string, string> }[];
  link(
    linker: (
      specifier: string,
      from: VmModule,
      extra: { attributes: Record<string, string> },
    ) => VmModule,
  ): Promise<void>;
  evaluate(): Promise<void>;
  setExport(name: string, value: unknown): void;
}

/** The parts of `node:vm` and `node:module` that the realm works with. */
export interface RealmTools {
  SourceTextModule: new (source: string, options: {
    identifier: string;
    initializeImportMeta(meta: Record<string, unknown>): void;
    importModuleDynamically(
      specifier: string,
      from: unknown,
      attributes: Record<string, string>,
    ): Promise<VmModule>;
  }) => VmModule;
  SyntheticModule: new (
    names: string[],
    evaluate: (this: VmModule) => void,
    options: { identifier: string },
  ) => VmModule;
  stripTypeScriptTypes(source: string, options: { mode: "transform" }): string;
  codec: Codec;
}

/** Runs the realm; called once, before any module of the user. */
export function realmMain(tools: RealmTools): void {
  const { SourceTextModule, SyntheticModule, stripTypeScriptTypes, codec } = tools;
  const scope = globalThis as unknown as Record<string, unknown> & {
    postMessage(message: unknown): void;
  };
  const apply = Reflect.apply;
  const send = scope.postMessage.bind(scope) as (message: RealmReport) => void;
  const sourceOf = Function.prototype.toString;
  const realDeno = Deno as unknown as Record<string, unknown>;
  const inspect = Deno.inspect;
  const NotCapable = Deno.errors.NotCapable;
  const JSONParse = JSON.parse;
  const text = String;
  const define = Object.defineProperty;
  const { slice } = String.prototype;
  const cut = (line: string, length: number): string => apply(slice, line, [0, length]) as string;

  // What the module prints and tries ---------------------------------------------------------

  let lines = 0;
  function print(line: string): void {
    if (lines++ < 200) send({ type: "printed", line: cut(line, 2000) });
  }
  function describe(error: unknown): string {
    try {
      if (error instanceof Error) {
        return cut(`${error.name}: ${error.message}`, 2000);
      }
      return cut(text(error), 2000);
    } catch {
      return "something that cannot be shown";
    }
  }
  let refusals = 0;
  function refused(line: string): void {
    if (refusals++ < 100) send({ type: "refused", line: cut(line, 500) });
  }
  function deny(line: string): never {
    refused(line);
    throw new NotCapable(`A reward module ${line}`);
  }
  function isRefusal(error: unknown): boolean {
    return error instanceof NotCapable;
  }
  function target(value: unknown): string {
    try {
      if (typeof value === "string" || value instanceof URL) return text(value);
      if (value instanceof Request) return value.url;
      if (typeof value === "object" && value !== null) {
        const { hostname, port } = value as { hostname?: unknown; port?: unknown };
        return `${text(hostname ?? "127.0.0.1")}:${text(port)}`;
      }
      return "?";
    } catch {
      return "?";
    }
  }
  /** Calls through to the runtime and notes it where the runtime's permissions say no. */
  function watched(
    call: (...args: unknown[]) => unknown,
    self: unknown,
    verb: string,
    grant: string,
  ): (...args: unknown[]) => unknown {
    return (...args: unknown[]): unknown => {
      const note = (error: unknown): never => {
        if (isRefusal(error)) {
          refused(`tried to ${verb} ${target(args[0])}: not granted; add \`${grant}\` if it must`);
        }
        throw error;
      };
      try {
        const result = apply(call, self, args);
        return result instanceof Promise ? result.catch(note) : result;
      } catch (error) {
        return note(error);
      }
    };
  }

  // The globals that stay --------------------------------------------------------------------

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
  const listen = addEventListener;
  // The runtime's own marks are symbols; it needs them to post a message.
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
  // What hangs off the scope's own prototypes (postMessage, close, addEventListener, …).
  for (
    let proto = Object.getPrototypeOf(globalThis);
    proto !== null && proto !== Object.prototype && proto !== EventTarget.prototype;
    proto = Object.getPrototypeOf(proto)
  ) {
    for (const key of Reflect.ownKeys(proto)) Reflect.deleteProperty(proto, key);
  }

  // Modules ----------------------------------------------------------------------------------

  const modules = new Map<string, VmModule>();
  const moduleOf = modules.get.bind(modules);
  const scripts = new Map<string, string>();
  let resolutions: Resolutions = {};
  let linked = false;
  const functions: Record<string, (...args: unknown[]) => unknown> = Object.create(null);

  function resolve(from: string, specifier: string, type: string): VmModule {
    const key = `${from}\n${specifier}\n${type}`;
    const url = Object.hasOwn(resolutions, key) ? resolutions[key] : undefined;
    const module = url === undefined ? undefined : moduleOf(`${url}\n${type}`) ?? moduleOf(url);
    if (module === undefined) {
      return deny(
        `tried to import ${specifier.slice(0, 300)}: it is not part of the checked module`,
      );
    }
    return module;
  }
  const hasOwn = Object.hasOwn;
  async function importLater(
    from: string,
    specifier: string,
    attributes: Record<string, string>,
  ): Promise<VmModule> {
    const type = hasOwn(attributes, "type") ? text(attributes.type) : "";
    const module = resolve(from, text(specifier), type);
    if (module.status === "unlinked") await module.link(linker);
    if (module.status === "linked") await module.evaluate();
    return module;
  }
  function linker(
    specifier: string,
    from: VmModule,
    extra: { attributes: Record<string, string> },
  ): VmModule {
    return resolve(from.identifier, specifier, extra.attributes?.type ?? "");
  }
  function parse(source: ModuleSource): ImportRequest[] {
    const { url, kind } = source;
    if (kind === "json" || kind === "text" || kind === "bytes" || kind === "empty") {
      const value = kind === "json" ? JSONParse(source.source as string) : source.source;
      const names = kind === "empty" ? [] : ["default"];
      const module = new SyntheticModule(names, function () {
        if (kind !== "empty") this.setExport("default", value);
      }, { identifier: url });
      modules.set(kind === "empty" ? url : `${url}\n${kind}`, module);
      return [];
    }
    const script = kind === "typescript"
      ? stripTypeScriptTypes(source.source as string, { mode: "transform" })
      : source.source as string;
    const module = new SourceTextModule(script, {
      identifier: url,
      initializeImportMeta(meta) {
        for (const key of Reflect.ownKeys(meta)) Reflect.deleteProperty(meta, key);
        meta.url = url;
        meta.main = false;
      },
      importModuleDynamically: (specifier, _from, attributes) =>
        importLater(url, specifier, attributes),
    });
    modules.set(url, module);
    scripts.set(url, script);
    const requests: ImportRequest[] = module.moduleRequests.map(({ specifier, attributes }) => ({
      from: url,
      specifier,
      type: attributes?.type ?? "",
      dynamic: false,
    }));
    for (const found of script.matchAll(/\bimport\s*\(\s*(["'])(\.[^"'\\\n]{1,300})\1\s*\)/g)) {
      requests.push({ from: url, specifier: found[2], type: "", dynamic: true });
    }
    return requests;
  }

  const keysOf = Object.keys;
  const { startsWith, indexOf } = String.prototype;
  /** Links and evaluates; from there on nothing of the language can be relied on. */
  async function link(entry: string): Promise<string[]> {
    linked = true;
    const module = moduleOf(entry)!;
    const script = scripts.get(entry) ?? "";
    await module.link(linker);
    await module.evaluate();
    const namespace = module.namespace;
    const exported = keysOf(namespace);
    const names: string[] = [];
    const places: number[] = [];
    let count = 0;
    for (let i = 0; i < exported.length; i++) {
      const name = exported[i];
      const value = namespace[name];
      if (typeof value !== "function") continue;
      const body = apply(sourceOf, value, []) as string;
      if (apply(startsWith, body, ["class"])) continue;
      functions[name] = value as () => unknown;
      let place = apply(indexOf, script, [body]) as number;
      // A re-exported function counts from where its name stands.
      if (place < 0) place = apply(indexOf, script, [name]) as number;
      // In the order of definition: insertion by place.
      let at = count++;
      for (; at > 0 && places[at - 1] > place; at--) {
        define(places, at, { value: places[at - 1], writable: true, configurable: true });
        define(names, at, {
          value: names[at - 1],
          writable: true,
          configurable: true,
          enumerable: true,
        });
      }
      define(places, at, { value: place, writable: true, configurable: true });
      define(names, at, { value: name, writable: true, configurable: true, enumerable: true });
    }
    return names;
  }

  // Orders of the guard ----------------------------------------------------------------------

  async function call(id: number, name: string, encoded: Uint8Array): Promise<void> {
    let report: RealmReport;
    try {
      const args = codec.decode(encoded) as unknown[];
      const result: unknown = await apply(functions[name], undefined, args);
      report = { type: "result", id, value: result, error: null };
      stopTimers();
      send(report);
    } catch (error) {
      stopTimers();
      send({ type: "result", id, error: describe(error) });
    }
    lines = 0;
    refusals = 0;
  }
  async function obey(order: RealmOrder): Promise<void> {
    switch (order.type) {
      case "ping":
        return send({ type: "pong", id: order.id });
      case "call":
        return await call(order.id, order.name, order.args);
      case "parse":
        if (linked) return;
        try {
          const requests: ImportRequest[] = [];
          for (const source of order.modules) requests.push(...parse(source));
          send({ type: "parsed", requests, error: null });
        } catch (error) {
          send({ type: "parsed", requests: [], error: describe(error) });
        }
        return;
      case "link":
        if (linked) return;
        resolutions = order.resolutions;
        try {
          send({ type: "linked", names: await link(order.entry), error: null });
        } catch (error) {
          send({ type: "linked", names: [], error: describe(error) });
        }
    }
  }
  const stopEvent = Event.prototype.stopImmediatePropagation;
  const preventDefault = Event.prototype.preventDefault;
  apply(listen, globalThis, ["message", (event: Event): void => {
    apply(stopEvent, event, []);
    obey((event as MessageEvent<RealmOrder>).data);
  }]);
  for (const kind of ["error", "unhandledrejection"]) {
    apply(listen, globalThis, [kind, (event: Event): void => {
      apply(preventDefault, event, []);
      apply(stopEvent, event, []);
      const { error, reason } = event as { error?: unknown; reason?: unknown };
      print(`uncaught: ${describe(kind === "error" ? error : reason)}`);
    }]);
  }
}
