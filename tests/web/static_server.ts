/** A plain static host: files as they lie in a folder, with no special headers unless asked. */

const TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  js: "text/javascript",
  css: "text/css",
  json: "application/json",
};

/** A running host. */
export interface StaticServer extends AsyncDisposable {
  /** `http://127.0.0.1:PORT`. */
  readonly origin: string;
  /** Method and path of each request. */
  readonly requests: string[];
  /** Paths that it answers with status 500 from now on, if they match. */
  broken: RegExp | null;
}

/** Serves the folder `root` and everything below it. */
export function serveStatic(
  root: string,
  headers: Readonly<Record<string, string>> = {},
): StaticServer {
  const requests: string[] = [];
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async (request) => {
      let path = decodeURIComponent(new URL(request.url).pathname);
      requests.push(`${request.method} ${path}`);
      if (host.broken?.test(path)) return new Response("broken", { status: 500 });
      if (path.endsWith("/")) path += "index.html";
      try {
        const type = TYPES[path.split(".").at(-1)!] ?? "application/octet-stream";
        return new Response(await Deno.readFile(root + path), {
          headers: { "content-type": type, ...headers },
        });
      } catch {
        return new Response("not found", { status: 404 });
      }
    },
  );
  const host: StaticServer = {
    origin: `http://127.0.0.1:${server.addr.port}`,
    requests,
    broken: null,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
  return host;
}
