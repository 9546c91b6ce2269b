/**
 * What `deno publish` would publish, and a loopback server that has these files and no others.
 *
 * @module
 */
import { fileURLToPath as fromFileUrl } from "node:url";

const root = new URL("../../", import.meta.url);

/** What a dry run of publishing said. */
export interface DryRun {
  readonly code: number;
  /** Everything it printed. */
  readonly text: string;
  /** Paths in the package. */
  readonly files: readonly string[];
}

let dryRun: Promise<DryRun> | undefined;

/** Runs `deno publish --dry-run` once. */
export function publishDryRun(): Promise<DryRun> {
  dryRun ??= (async () => {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["publish", "--dry-run", "--allow-dirty"],
      cwd: root,
      env: { NO_COLOR: "1" },
    }).output();
    const decoder = new TextDecoder();
    const text = decoder.decode(stdout) + decoder.decode(stderr);
    const base = fromFileUrl(root);
    const files = [...text.matchAll(/^\s+(file:\/\/\S+) \([\d.]+[KM]?B\)$/gm)]
      .map(([, url]) => fromFileUrl(new URL(url)).slice(base.length));
    return { code, text, files };
  })();
  return dryRun;
}

/** A server of the published files. */
export interface PublishedServer extends AsyncDisposable {
  /** `http://127.0.0.1:PORT/`. */
  readonly origin: string;
  /** Paths that were asked for and are not published. */
  readonly missed: readonly string[];
}

/** Serves the published files on loopback. */
export async function servePublished(): Promise<PublishedServer> {
  const { files } = await publishDryRun();
  const known = new Set(files);
  const missed: string[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    const path = decodeURIComponent(new URL(request.url).pathname).slice(1);
    if (!known.has(path)) {
      missed.push(path);
      return new Response("not published", { status: 404 });
    }
    const type = path.endsWith(".ts") ? "application/typescript" : "text/plain";
    return new Response(Deno.readFileSync(new URL(encodeURI(path), root)), {
      headers: { "content-type": type },
    });
  });
  return {
    origin: `http://127.0.0.1:${server.addr.port}/`,
    missed,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}
