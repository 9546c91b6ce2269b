/**
 * Bundles what tfjs-core's module for Node leaves out, its gradients and chained ops, as
 * `src/tfjs_gradients.js`. What core exports is imported from there, so that the bundle has no second
 * engine. Run `deno run -A kernels/build_gradients.ts` after a new version of tfjs.
 *
 * @module
 */
import { createRequire } from "node:module";
import { basename, resolve } from "node:path";
import * as core from "@tensorflow/tfjs-core";

const VERSION = core.version_core;
const ESBUILD = "0.28.2";
const OUT = new URL("../src/tfjs_gradients.js", import.meta.url);

const ENTRY = `import "@tensorflow/tfjs-core/dist/register_all_gradients.js";
import "@tensorflow/tfjs-core/dist/public/chained_ops/register_all_chained_ops.js";
`;

type Exports = Readonly<Record<string, unknown>>;
const exported: Exports = core;

/** Exports of core that hold further functions. */
const NAMESPACES = ["util", "backend_util", "slice_util", "broadcast_util", "tensor_util"];

/** Modules whose functions are in core under other names than their own. */
const IN_CORE = /ops\/(axis_util|conv_util|broadcast_util|slice_util)\.js$/;
const IN_CORE_TOO = /\/(util|engine|environment|log|util_base|tensor|tensor_util)\.js$/;

/** How core's caller reaches a name; undefined: it does not. */
function placeOf(name: string): string | undefined {
  if (name === "ENGINE") return "core.engine()";
  if (name === "getGlobalTensorClass") return "() => core.Tensor";
  if (exported[name] !== undefined) return `core.${name}`;
  const space = NAMESPACES.find((space) => (exported[space] as Exports)?.[name] !== undefined);
  return space === undefined ? undefined : `core.${space}.${name}`;
}

/** The names that a module of tfjs exports; null if it passes on another's. */
function namesOf(source: string): string[] | null {
  if (/^export \* /m.test(source)) return null;
  const declared = source.matchAll(/^export (?:async )?(?:const|let|var|function|class) (\w+)/gm);
  const listed = [...source.matchAll(/^export \{([^}]*)\}/gm)].flatMap(([, list]) =>
    list.split(",").map((part) => part.trim().split(/\s+as\s+/).at(-1)!)
  );
  return [...[...declared].map(([, name]) => name), ...listed.filter((name) => name !== "")];
}

/** What a plugin of esbuild can do, as far as it is used. */
interface PluginHooks {
  onResolve(
    options: { readonly filter: RegExp },
    resolve: (asked: { path: string; importer: string; resolveDir: string }) => object | undefined,
  ): void;
  onLoad(
    options: { readonly filter: RegExp; readonly namespace: string },
    load: (asked: { path: string; pluginData: string[] }) => object,
  ): void;
}

/** What of esbuild's interface is used. */
interface Bundler {
  build(options: unknown): Promise<unknown>;
}

if (import.meta.main) {
  const folder = await Deno.makeTempDir();
  const npm = await new Deno.Command("npm", {
    args: [
      "install",
      "--no-save",
      "--prefix",
      folder,
      `esbuild@${ESBUILD}`,
      `@tensorflow/tfjs-core@${VERSION}`,
    ],
  }).output();
  if (!npm.success) throw new Error(new TextDecoder().decode(npm.stderr));
  await Deno.writeTextFile(`${folder}/entry.js`, ENTRY);
  const dist = `${folder}/node_modules/@tensorflow/tfjs-core/dist`;
  const { build }: Bundler = createRequire(`${folder}/entry.js`)("esbuild");
  const external = { path: "@tensorflow/tfjs-core", external: true };
  await build({
    entryPoints: [`${folder}/entry.js`],
    absWorkingDir: folder,
    bundle: true,
    format: "esm",
    platform: "neutral",
    mainFields: ["module"],
    outfile: `${folder}/out.js`,
    legalComments: "none",
    minifyWhitespace: true,
    plugins: [{
      name: "core",
      setup(bundler: PluginHooks) {
        bundler.onResolve({ filter: /^@tensorflow\/tfjs-core$/ }, () => external);
        bundler.onResolve(
          { filter: /^\./ },
          (asked) => {
            if (!asked.importer.startsWith(dist)) return undefined;
            const path = resolve(asked.resolveDir, asked.path);
            const file = path.endsWith(".js") ? path : `${path}.js`;
            if (/\/(gradients|chained_ops)\//.test(file)) return undefined;
            if (/\/(base|ops\/ops)\.js$/.test(file)) return external;
            let source: string;
            try {
              source = Deno.readTextFileSync(file);
            } catch {
              return undefined;
            }
            const isUtil = file === `${dist}/util.js`;
            const names = isUtil ? Object.keys(core.util) : namesOf(source);
            if (names === null || names.length === 0) return undefined;
            if (names.every((name) => exported[name] !== undefined)) return external;
            const known = basename(file) === "engine.js"
              ? ["ENGINE"]
              : names.filter((name) => placeOf(name) !== undefined);
            const isInCore = IN_CORE.test(file) || IN_CORE_TOO.test(file);
            if (!isInCore || known.length === 0) return undefined;
            return { path: file, namespace: "core", pluginData: known };
          },
        );
        bundler.onLoad(
          { filter: /.*/, namespace: "core" },
          ({ path, pluginData }) => ({
            resolveDir: resolve(path, ".."),
            contents: `import * as core from "@tensorflow/tfjs-core";\n` +
              pluginData.map((name) =>
                `export const ${name} = /* @__PURE__ */ (() => ${placeOf(name)})();`
              ).join("\n"),
          }),
        );
      },
    }],
  });
  const head =
    `// Made by \`deno run -A kernels/build_gradients.ts\` out of @tensorflow/tfjs-core ` +
    `${VERSION}: its gradients and\n// chained ops, which its bundle for Node leaves out. ` +
    `Copyright Google LLC, licence: Apache-2.0.\n`;
  await Deno.writeTextFile(OUT, head + await Deno.readTextFile(`${folder}/out.js`));
  await Deno.remove(folder, { recursive: true });
}
