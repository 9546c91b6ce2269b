import { COMMIT_HASH, type RepoRevision } from "./hub_cache.ts";
import { HubError } from "./hub_error.ts";
import { type HubFetch, hubFetch } from "./hub_fetch.ts";
import type { HubSettings } from "./hub_settings.ts";

/** A file of a repository. */
export interface RepoFile {
  /** Relative to the repository. */
  readonly path: string;
  /** Bytes. */
  readonly size: number;
}

/** Metadata of a file. */
export interface FileHead {
  /** The commit of the revision. */
  readonly commit: string;
  /** The name of its blob: SHA-256 of large files, a git hash of small ones. */
  readonly etag: string;
  /** Bytes; null if the Hub does not say. */
  readonly size: number | null;
  /** The URL of the bytes. */
  readonly url: string;
}

/** A client of a Hub. */
export class HubClient {
  /** Endpoint, token and cache. */
  readonly settings: HubSettings;
  /** Sends requests, with the token for hosts that may get it. */
  readonly fetch: HubFetch;

  /** @param settings see `hubSettings()` */
  constructor(settings: HubSettings, send: HubFetch = hubFetch(settings)) {
    this.settings = settings;
    this.fetch = send;
  }

  /**
   * The current commit of a revision.
   *
   * @throws {HubError} if there is no such repository, no access, or no network
   */
  async commitOf(at: RepoRevision): Promise<string> {
    const { modelInfo, datasetInfo } = await import("@huggingface/hub");
    const query = {
      name: at.repo,
      revision: at.revision,
      hubUrl: this.settings.endpoint,
      fetch: this.fetch,
      additionalFields: ["sha" as const],
    };
    try {
      const info = at.type === "model" ? await modelInfo(query) : await datasetInfo(query);
      if (!COMMIT_HASH.test(info.sha)) {
        throw new HubError("damaged", `Cannot use ${name(at)}: its commit is ${info.sha}`);
      }
      return info.sha;
    } catch (error) {
      throw this.#explain(at, error);
    }
  }

  /**
   * All files of a commit.
   *
   * @throws {HubError} as `commitOf`
   */
  async listFiles(at: RepoRevision, commit: string): Promise<RepoFile[]> {
    const { listFiles } = await import("@huggingface/hub");
    const files: RepoFile[] = [];
    try {
      const entries = listFiles({
        repo: { type: at.type, name: at.repo },
        revision: commit,
        recursive: true,
        hubUrl: this.settings.endpoint,
        fetch: this.fetch,
      });
      for await (const entry of entries) {
        if (entry.type === "file") {
          files.push({ path: entry.path, size: entry.lfs?.size ?? entry.size });
        }
      }
    } catch (error) {
      throw this.#explain(at, error);
    }
    return files;
  }

  /**
   * Metadata and URL of a file.
   *
   * @throws {HubError} if it is not there, or as `commitOf`
   */
  async head(at: RepoRevision, path: string): Promise<FileHead> {
    const prefix = at.type === "model" ? "" : `${at.type}s/`;
    const url = `${this.settings.endpoint}/${prefix}${at.repo}/resolve/${
      encodeURIComponent(at.revision)
    }/${path.split("/").map(encodeURIComponent).join("/")}`;
    // Large files redirect to their storage; the metadata is in the headers of that response.
    let response = await this.fetch(url, {
      method: "HEAD",
      redirect: "manual",
      headers: { "accept-encoding": "identity" },
    });
    let asked = url;
    for (let i = 0; i < 3 && isMoved(response, asked); i++) {
      asked = new URL(response.headers.get("location") ?? "", asked).href;
      response = await this.fetch(asked, {
        method: "HEAD",
        redirect: "manual",
        headers: { "accept-encoding": "identity" },
      });
    }
    const { headers, status } = response;
    await response.body?.cancel();
    if (status >= 400) {
      throw this.#explainStatus(at, status, headers.get("x-error-code"), path);
    }
    const commit = headers.get("x-repo-commit") ?? "";
    const etag = (headers.get("x-linked-etag") ?? headers.get("etag") ?? "")
      .replace(/^W\//, "").replaceAll('"', "");
    if (!COMMIT_HASH.test(commit) || !/^[\w.-]+$/.test(etag)) {
      throw new HubError(
        "damaged",
        `Cannot fetch ${path} of ${name(at)}: ${this.settings.endpoint} does not answer as a Hub ` +
          `does (commit ${JSON.stringify(commit)}, etag ${
            JSON.stringify(etag)
          }); check HF_ENDPOINT`,
      );
    }
    const size = headers.get("x-linked-size") ??
      (status < 300 ? headers.get("content-length") : null);
    return { commit, etag, size: size === null ? null : Number(size), url: asked };
  }

  #explain(at: RepoRevision, error: unknown): HubError {
    if (error instanceof HubError) return error;
    if (isApiError(error)) {
      const code = typeof error.data?.error === "string" ? error.data.error : "";
      return this.#explainStatus(at, error.statusCode, code, null, error);
    }
    return new HubError(
      "damaged",
      `Cannot use ${name(at)}: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  }

  #explainStatus(
    at: RepoRevision,
    status: number,
    code: string | null,
    path: string | null,
    cause?: unknown,
  ): HubError {
    const what = path === null ? name(at) : `${path} of ${name(at)}`;
    const page = `${this.settings.endpoint}/${at.type === "model" ? "" : "datasets/"}${at.repo}`;
    const token = this.settings.token === null
      ? "set HF_TOKEN to a token of an account that may read it"
      : "the token in HF_TOKEN may not read it";
    if (status === 403 || code === "GatedRepo" || /gated/i.test(code ?? "")) {
      return new HubError(
        "not allowed",
        `Cannot fetch ${what}: access is restricted; accept its terms on ${page}, and ${token}`,
        { cause },
      );
    }
    if (status === 401) {
      return new HubError(
        "not allowed",
        `Cannot fetch ${what}: it is private or gated, or there is none of that name; ${token}`,
        { cause },
      );
    }
    if (status === 404) {
      const missing = path !== null && code !== "RepoNotFound"
        ? `Cannot fetch ${what}: the ${at.type} has no such file at revision ${at.revision}`
        : `Cannot fetch ${what}: ${this.settings.endpoint} has no such ${at.type} at revision ` +
          `${at.revision}; check the name, or give a local path`;
      return new HubError("not found", missing, { cause });
    }
    return new HubError(
      "refused",
      `Cannot fetch ${what}: the Hub answered ${status} ${code ?? ""}`,
      {
        cause,
      },
    );
  }
}

/** A renamed repository: a redirect within the Hub. */
function isMoved(response: Response, asked: string): boolean {
  const location = response.headers.get("location");
  if (response.status < 300 || response.status >= 400 || location === null) return false;
  return response.headers.get("x-linked-etag") === null &&
    new URL(location, asked).origin === new URL(asked).origin;
}

function isApiError(
  error: unknown,
): error is Error & { statusCode: number; data?: Record<string, unknown> } {
  return error instanceof Error && "statusCode" in error && typeof error.statusCode === "number";
}

function name({ repo, type }: RepoRevision): string {
  return `the ${type} ${repo}`;
}
