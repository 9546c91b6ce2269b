/** A loopback server of modules and packages, for tests. */
import { SandboxedModule } from "../../../src/rewards/host/sandboxed_module.ts";

/** A server of modules on the loopback that counts what is asked of it. */
export class ModuleServer implements AsyncDisposable {
  readonly asked: string[] = [];
  readonly files: Record<string, string | Uint8Array<ArrayBuffer>>;
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  constructor(files: Record<string, string | Uint8Array<ArrayBuffer>>) {
    this.files = files;
    this.#server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, (request) => {
      const path = decodeURIComponent(new URL(request.url).pathname.replaceAll("%2f", "/"));
      this.asked.push(path);
      const file = this.files[path];
      if (typeof file === "string" && file.startsWith("->")) {
        return Response.redirect(file.slice(2), 302);
      }
      if (file === undefined) return new Response("none", { status: 404 });
      const type = path.endsWith(".ts") ? "text/typescript" : "text/javascript";
      return new Response(file, { headers: { "content-type": type } });
    });
  }

  get origin(): string {
    return `http://127.0.0.1:${this.#server.addr.port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

/** Fetches a graph and returns its integrity. */
export async function integrityOf(specifier: string, cacheDir: string): Promise<string> {
  await using module = await SandboxedModule.start(specifier, { cacheDir }, { anyIntegrity: true });
  return module.integrity;
}

/** A gzipped tar archive of a package. */
export async function tarball(files: Record<string, string>): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  for (const [name, text] of Object.entries(files)) {
    const body = new TextEncoder().encode(text);
    const head = new Uint8Array(512);
    head.set(new TextEncoder().encode(`package/${name}`));
    head.set(new TextEncoder().encode(body.length.toString(8).padStart(11, "0")), 124);
    head[156] = 48;
    parts.push(head, body, new Uint8Array((512 - body.length % 512) % 512));
  }
  parts.push(new Uint8Array(1024));
  const stream = new Blob(parts).stream().pipeThrough(new CompressionStream("gzip"));
  return await new Response(stream).bytes();
}
