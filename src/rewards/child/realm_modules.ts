/**
 * Links a checked graph. Every import of the module, also from `eval` and `Function`, is resolved here
 * from the graph alone; the runtime's own loader is never used.
 *
 * The child gets this very function as text (see program.ts): it must not use anything from
 * outside its own body.
 */
import type { RealmVoice } from "./realm_voice.ts";
import type { ImportRequest, ModuleSource, Resolutions } from "./protocol.ts";

/** The used part of `vm.SourceTextModule` and `vm.SyntheticModule`. */
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

/** The parts of `node:vm` and `node:module` that the realm uses. */
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
  stripTypeScriptTypes(source: string, options: { mode: "strip" | "transform" }): string;
}

/** The modules of the realm. */
export interface RealmModules {
  /** Parses a module and returns its imports; evaluates nothing. */
  parse(source: ModuleSource): ImportRequest[];
  /** Links and evaluates the graph; names of the entry's functions, in the order of definition. */
  link(entry: string, resolutions: Resolutions): Promise<string[]>;
  /** The place of an error in the module, ` (file.ts:3:5)`; empty if it is not known. */
  place(error: unknown): string;
  /** The entry's functions by name. */
  functions: Record<string, (...args: unknown[]) => unknown>;
}

/** Makes the {@linkcode RealmModules}, before any module of the user. */
export function makeRealmModules(tools: RealmTools, voice: RealmVoice): RealmModules {
  const { SourceTextModule, SyntheticModule, stripTypeScriptTypes } = tools;
  const { deny } = voice;
  const apply = Reflect.apply;
  const sourceOf = Function.prototype.toString;
  const JSONParse = JSON.parse;
  const text = String;
  const define = Object.defineProperty;

  const modules = new Map<string, VmModule>();
  const moduleOf = modules.get.bind(modules);
  const scripts = new Map<string, string>();
  /** Modules whose lines and columns are those of their source. */
  const exact = new Set<string>();
  let resolutions: Resolutions = {};
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
  /** The imports and re-exports of a script, without white space. */
  function clauses(script: string): string {
    const found = script.match(/\b(?:import|export)\b[^;'"`()]*\bfrom\s*["'][^"'\n]+["']/g) ?? [];
    return found.join("\n").replace(/[\s,]/g, "");
  }
  /**
   * Transforming drops imports of types, as Deno does, and knows enums; blanking types out keeps
   * every line and column. Blanking is used if both have the same imports and exports.
   */
  function withoutTypes(url: string, source: string): string {
    const transformed = stripTypeScriptTypes(source, { mode: "transform" });
    try {
      const blanked = stripTypeScriptTypes(source, { mode: "strip" });
      if (clauses(blanked) === clauses(transformed)) {
        exact.add(url);
        return blanked;
      }
    } catch {
      // Enums cannot be blanked out.
    }
    return transformed;
  }
  function place(error: unknown): string {
    try {
      const stack = text((error as Error).stack);
      for (
        const [, url, line, column] of stack.matchAll(
          /((?:file|https?|npm):[^\s()]+?):(\d+):(\d+)/g,
        )
      ) {
        if (exact.has(url)) return ` (${url.replace(/^.*\//, "")}:${line}:${column})`;
      }
    } catch {
      // The error object may throw.
    }
    return "";
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
      ? withoutTypes(url, source.source as string)
      : source.source as string;
    if (kind === "javascript") exact.add(url);
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
      // The host refuses what is cut: no file has such a name.
      specifier: specifier.slice(0, 2000),
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
  /** Links and evaluates. After this, no built-in of the language can be relied on. */
  async function link(entry: string, checked: Resolutions): Promise<string[]> {
    resolutions = checked;
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
      // A re-exported function is ordered by the place of its name.
      if (place < 0) place = apply(indexOf, script, [name]) as number;
      // In the order of definition: insertion sort by place.
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
  return { parse, link, place, functions };
}
