/**
 * A Hub on loopback with the routes that are used of the real one: repository info, file lists,
 * files with ranges and redirects to a storage of another origin, and uploads.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { join } from "node:path";

/** A repository: files by path, or a folder to serve. */
export type FakeRepo = Record<string, Uint8Array | string> | URL | string;

/** What the Hub has. */
export interface FakeHubOptions {
  /** Models by id. */
  models?: Record<string, FakeRepo>;
  /** Data sets by id. */
  datasets?: Record<string, FakeRepo>;
  /** Where set, uploads and the repositories in `gated` want this token. */
  token?: string;
  /** Ids that are gated. */
  gated?: string[];
  /** Files of at least so many bytes lie in the storage (as LFS does it); default 1000. */
  lfsBytes?: number;
}

/** A request that came in. */
export interface FakeRequest {
  method: string;
  path: string;
  authorization: string | null;
  range: string | null;
  /** Whether it reached the Hub itself or its storage. */
  at: "hub" | "storage";
}

/** A running Hub. */
export interface FakeHub {
  /** What to set `HF_ENDPOINT` to. */
  endpoint: string;
  /** All requests so far. */
  requests: FakeRequest[];
  /** The next download from the storage breaks off after so many bytes. */
  breakAfter(bytes: number): void;
  /** The next download from the storage sends other bytes. */
  spoilNext(): void;
  /** The next requests are answered with this status. */
  failNext(status: number, times?: number): void;
  /** Replaces or adds files, as a new commit. */
  push(type: "models" | "datasets", id: string, files: Record<string, Uint8Array | string>): void;
  /** The files of a repository now. */
  files(type: "models" | "datasets", id: string): Map<string, Uint8Array>;
  /** The commit of a repository now. */
  commit(type: "models" | "datasets", id: string): string;
  /** Stops it. */
  close(): Promise<void>;
}

interface Repo {
  files: Map<string, Uint8Array>;
  commit: string;
}

/** Starts a Hub; `close()` it at the end. */
export function startFakeHub(options: FakeHubOptions = {}): FakeHub {
  const { lfsBytes = 1000, token = null, gated = [] } = options;
  const repos = new Map<string, Repo>();
  const stored = new Map<string, Uint8Array>();
  const requests: FakeRequest[] = [];
  let breakBytes: number | null = null;
  let spoil = false;
  let failures: number[] = [];

  const put = (key: string, files: Map<string, Uint8Array>) => {
    repos.set(key, { files, commit: commitOf(files) });
    for (const bytes of files.values()) stored.set(sha256(bytes), bytes);
  };
  for (const type of ["models", "datasets"] as const) {
    for (const [id, repo] of Object.entries(options[type] ?? {})) {
      put(`${type}/${id}`, readRepo(repo));
    }
  }

  const storage = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    async (request) => {
      note(request, "storage");
      const oid = new URL(request.url).pathname.slice(1);
      if (request.method === "PUT") {
        const bytes = new Uint8Array(await request.arrayBuffer());
        stored.set(sha256(bytes), bytes);
        return new Response();
      }
      const bytes = stored.get(oid);
      if (bytes === undefined) return new Response("no such object", { status: 404 });
      return sendBytes(request, bytes, { etag: `"${oid}"` }, true);
    },
  );
  const storageUrl = `http://127.0.0.1:${storage.addr.port}`;
  const hub = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    async (request) => {
      note(request, "hub");
      const status = failures.shift();
      if (status !== undefined) return new Response("failing", { status });
      const url = new URL(request.url);
      const path = decodeURIComponent(url.pathname);
      return await answer(request, url, path);
    },
  );
  const endpoint = `http://127.0.0.1:${hub.addr.port}`;

  function note(request: Request, at: "hub" | "storage"): void {
    const url = new URL(request.url);
    requests.push({
      method: request.method,
      path: decodeURIComponent(url.pathname),
      authorization: request.headers.get("authorization"),
      range: request.headers.get("range"),
      at,
    });
  }

  function sendBytes(
    request: Request,
    bytes: Uint8Array,
    headers: Record<string, string>,
    mayBreak: boolean,
  ): Response {
    const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.get("range") ?? "");
    const start = range === null ? 0 : Number(range[1]);
    if (start >= bytes.length && range !== null) return new Response(null, { status: 416 });
    const end = range === null || range[2] === "" ? bytes.length : Number(range[2]) + 1;
    let body = bytes.slice(start, end);
    const all = {
      ...headers,
      "accept-ranges": "bytes",
      "content-length": String(body.length),
      ...(range === null ? {} : { "content-range": `bytes ${start}-${end - 1}/${bytes.length}` }),
    };
    const status = range === null ? 200 : 206;
    if (request.method === "HEAD") return new Response(null, { status, headers: all });
    if (mayBreak && spoil) {
      spoil = false;
      body = body.map((byte) => byte ^ 1);
    }
    if (mayBreak && breakBytes !== null) {
      // Without its length, a body may end early with nothing said: as a broken connection does.
      const part = ReadableStream.from([body.slice(0, breakBytes)]);
      breakBytes = null;
      return new Response(part, { status, headers: { ...headers, "accept-ranges": "bytes" } });
    }
    return new Response(body, { status, headers: all });
  }

  async function answer(request: Request, url: URL, path: string): Promise<Response> {
    const authorized = token === null || request.headers.get("authorization") === `Bearer ${token}`;
    if (request.method === "POST" && path === "/api/repos/create") {
      if (!authorized) return apiError(401, "Invalid credentials");
      const { name, organization, type } = await request.json();
      put(`${type}s/${organization}/${name}`, new Map());
      return Response.json({ url: `${endpoint}/${organization}/${name}`, id: "1" });
    }
    const api = /^\/api\/(models|datasets)\/([^/]+\/[^/]+)(?:\/(.*))?$/.exec(path);
    const git = /^\/(datasets\/)?([^/]+\/[^/]+)\.git\/info\/lfs\/objects\/batch$/.exec(path);
    const file = /^\/(datasets\/)?([^/]+\/[^/]+)\/resolve\/(refs\/[^/]+\/[^/]+|[^/]+)\/(.+)$/
      .exec(path);
    const match = api ?? git ?? file;
    if (match === null) return apiError(404, "Not found");
    const type = api !== null ? api[1] : match[1] === undefined ? "models" : "datasets";
    const id = match[2];
    const repo = repos.get(`${type}/${id}`);
    if (repo === undefined) return apiError(401, "Invalid username or password.", "RepoNotFound");
    const gate = gated.includes(id) && api?.[3]?.startsWith("revision") !== true;
    if (gate && !authorized) {
      return apiError(401, `Access to model ${id} is restricted.`, "GatedRepo");
    }
    if (file !== null) return sendFile(request, type, repo, file[3], file[4]);
    if (request.method === "POST" && !authorized) return apiError(403, "Forbidden");
    if (git !== null) return await lfsBatch(request);
    const [verb, ...rest] = (api?.[3] ?? "").split("/");
    if (verb === "" || verb === "revision") {
      if (!knows(repo, rest.join("/"))) {
        return apiError(404, "No such revision", "RevisionNotFound");
      }
      const siblings = [...repo.files.keys()].map((rfilename) => ({ rfilename }));
      return Response.json({
        _id: "1",
        id,
        sha: repo.commit,
        private: false,
        gated: false,
        siblings,
        likes: 0,
        downloads: 0,
        lastModified: "2024-01-01T00:00:00.000Z",
      });
    }
    if (verb === "tree") {
      if (!knows(repo, rest[0])) return apiError(404, "No such revision", "RevisionNotFound");
      return listTree(repo, url);
    }
    if (verb === "preupload") {
      const { files } = await request.json();
      return Response.json({
        files: files.map((one: { path: string; size: number }) => ({
          path: one.path,
          uploadMode: one.size >= lfsBytes ? "lfs" : "regular",
        })),
      });
    }
    if (verb === "commit") return await takeCommit(request, `${type}/${id}`, repo);
    return apiError(404, "Not found");
  }

  function sendFile(
    request: Request,
    type: string,
    repo: Repo,
    revision: string,
    path: string,
  ): Response {
    if (!knows(repo, revision)) return apiError(404, "No such revision", "RevisionNotFound");
    const bytes = repo.files.get(path);
    if (bytes === undefined) return apiError(404, "Entry not found", "EntryNotFound", repo.commit);
    const oid = bytes.length >= lfsBytes ? sha256(bytes) : gitHash(bytes);
    const headers = { etag: `"${oid}"`, "x-repo-commit": repo.commit, "x-repo-type": type };
    if (bytes.length < lfsBytes) return sendBytes(request, bytes, headers, false);
    return new Response(null, {
      status: 302,
      headers: {
        ...headers,
        "x-linked-etag": `"${oid}"`,
        "x-linked-size": String(bytes.length),
        location: `${storageUrl}/${oid}`,
      },
    });
  }

  /** Two files a page, so that paging is used. */
  function listTree(repo: Repo, url: URL): Response {
    const from = Number(url.searchParams.get("cursor") ?? 0);
    const names = [...repo.files.keys()].sort();
    const page = names.slice(from, from + 2).map((path) => {
      const bytes = repo.files.get(path) ?? new Uint8Array();
      const lfs = bytes.length >= lfsBytes
        ? { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 130 } }
        : {};
      return { type: "file", path, size: bytes.length, oid: gitHash(bytes), ...lfs };
    });
    const headers = new Headers();
    if (from + 2 < names.length) {
      const next = new URL(url);
      next.host = `127.0.0.1:${hub.addr.port}`;
      next.searchParams.set("cursor", String(from + 2));
      headers.set("link", `<${next.href}>; rel="next"`);
    }
    return Response.json(page, { headers });
  }

  async function lfsBatch(request: Request): Promise<Response> {
    const { objects } = await request.json();
    return Response.json({
      transfer: "basic",
      objects: objects.map((object: { oid: string; size: number }) => ({
        ...object,
        actions: stored.has(object.oid)
          ? undefined
          : { upload: { href: `${storageUrl}/${object.oid}`, header: {} } },
      })),
    });
  }

  async function takeCommit(request: Request, key: string, repo: Repo): Promise<Response> {
    const files = new Map(repo.files);
    for (const line of (await request.text()).split("\n").filter((text) => text !== "")) {
      const { key: kind, value } = JSON.parse(line);
      if (kind === "file") {
        files.set(value.path, Uint8Array.from(atob(value.content), (char) => char.charCodeAt(0)));
      } else if (kind === "lfsFile") {
        const bytes = stored.get(value.oid);
        if (bytes === undefined) return apiError(400, `LFS object ${value.oid} was not uploaded`);
        files.set(value.path, bytes);
      }
    }
    put(key, files);
    return Response.json({
      success: true,
      commitOid: commitOf(files),
      commitUrl: `${endpoint}/${key}/commit/1`,
      hookOutput: "",
    });
  }

  const keyOf = (type: string, id: string): Repo => {
    const repo = repos.get(`${type}/${id}`);
    if (repo === undefined) throw new Error(`the fake Hub has no ${type}/${id}`);
    return repo;
  };
  return {
    endpoint,
    requests,
    breakAfter: (bytes) => breakBytes = bytes,
    spoilNext: () => spoil = true,
    failNext: (status, times = 1) => failures = Array.from({ length: times }, () => status),
    push: (type, id, files) => {
      put(`${type}/${id}`, new Map([...keyOf(type, id).files, ...readRepo(files)]));
    },
    files: (type, id) => keyOf(type, id).files,
    commit: (type, id) => keyOf(type, id).commit,
    close: async () => {
      await hub.shutdown();
      await storage.shutdown();
    },
  };
}

function knows(repo: Repo, revision: string): boolean {
  return ["", "HEAD", "main", repo.commit].includes(revision);
}

function apiError(status: number, error: string, code?: string, commit?: string): Response {
  return Response.json({ error }, {
    status,
    headers: {
      ...(code === undefined ? {} : { "x-error-code": code }),
      ...(commit === undefined ? {} : { "x-repo-commit": commit }),
    },
  });
}

function readRepo(repo: FakeRepo): Map<string, Uint8Array> {
  if (repo instanceof URL) return readFolder(repo.pathname, "");
  if (typeof repo === "string") return readFolder(repo, "");
  return new Map(
    Object.entries(repo).map(([path, content]) => [
      path,
      typeof content === "string" ? new TextEncoder().encode(content) : content,
    ]),
  );
}

function readFolder(root: string, under: string): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  for (const entry of Deno.readDirSync(join(root, under))) {
    const path = under === "" ? entry.name : `${under}/${entry.name}`;
    if (entry.isDirectory) {
      for (const [name, bytes] of readFolder(root, path)) files.set(name, bytes);
    } else files.set(path, Deno.readFileSync(join(root, path)));
  }
  return files;
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function gitHash(bytes: Uint8Array): string {
  return createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
}

function commitOf(files: Map<string, Uint8Array>): string {
  const hash = createHash("sha1");
  for (const [path, bytes] of files) hash.update(`${path} ${sha256(bytes)}\n`);
  return hash.digest("hex");
}

/** `deno run -A tests/hub/fake_hub.ts --model owner/name=FOLDER --dataset owner/name=FOLDER` */
if (import.meta.main) {
  const options = { models: {} as Record<string, string>, datasets: {} as Record<string, string> };
  for (let i = 0; i < Deno.args.length; i += 2) {
    const [id, folder] = (Deno.args[i + 1] ?? "").split("=");
    const kind = { "--model": options.models, "--dataset": options.datasets }[Deno.args[i]];
    if (kind === undefined || folder === undefined) {
      console.error("Usage: fake_hub.ts [--model owner/name=FOLDER] [--dataset owner/name=FOLDER]");
      Deno.exit(2);
    }
    kind[id] = folder;
  }
  console.log(startFakeHub(options).endpoint);
}
