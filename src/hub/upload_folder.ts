import { openAsBlob } from "node:fs";
import { join } from "node:path";
import { defaultClient } from "./download_file.ts";
import type { HubClient } from "./hub_client.ts";
import { HubError } from "./hub_error.ts";
import type { HubSettings } from "./hub_settings.ts";

/** What to upload, and the target. */
export interface UploadFolderOptions {
  /** `owner/name`; created if missing. */
  readonly repo: string;
  /** The local folder. */
  readonly folder: string;
  /** Model or data set; default model. */
  readonly type?: "model" | "dataset";
  /** Branch; default `main`. */
  readonly branch?: string;
  /** The commit's title. */
  readonly title?: string;
  /** Whether a repository that is made for it is private; default: the account's own default. */
  readonly isPrivate?: boolean;
  /** Which files, by their path in the folder; default: all but hidden ones. */
  readonly accept?: (path: string) => boolean;
  /** The Hub to use; default: as the environment says. */
  readonly client?: HubClient;
}

/**
 * Checks, without a request, that an upload can be tried.
 *
 * @returns the token to use
 * @throws {HubError} if there is no token, or the Hub is offline by configuration
 */
export function checkUpload(repo: string, folder: string, settings: HubSettings): string {
  const { token, endpoint, offline } = settings;
  if (offline) {
    throw new HubError("offline", `Cannot upload ${folder} to ${repo}: HF_HUB_OFFLINE is set`);
  }
  if (token !== null && token.startsWith("hf_")) return token;
  throw new HubError(
    "not allowed",
    `Cannot upload ${folder} to ${repo}: ${
      token === null ? "there is no token" : "the token does not start with hf_"
    }; set HF_TOKEN to one with write access (${endpoint}/settings/tokens)`,
  );
}

/**
 * Uploads a folder as one commit (`save.push_to_hub`).
 *
 * @returns the commit's hash
 * @throws {HubError} if there is no token, no access, or no network
 */
export async function uploadFolder(options: UploadFolderOptions): Promise<string> {
  const { repo, folder, type = "model", branch = "main" } = options;
  const client = options.client ?? defaultClient();
  const token = checkUpload(repo, folder, client.settings);
  const { endpoint } = client.settings;
  const { createRepo, repoExists, uploadFiles } = await import("@huggingface/hub");
  const designation = { type, name: repo };
  const hub = { hubUrl: endpoint, fetch: client.fetch, accessToken: token };
  const paths = (await listFolder(folder, "")).filter(options.accept ?? (() => true));
  if (paths.length === 0) {
    throw new HubError("not found", `Cannot upload ${folder} to ${repo}: it has no files`);
  }
  try {
    if (!await repoExists({ ...hub, repo: designation })) {
      await createRepo({
        ...hub,
        repo: designation,
        ...(options.isPrivate === undefined
          ? {}
          : { visibility: options.isPrivate ? "private" : "public" }),
      });
    }
    const files = await Promise.all(
      paths.map(async (path) => ({ path, content: await openAsBlob(join(folder, path)) })),
    );
    const output = await uploadFiles({
      ...hub,
      repo: designation,
      branch,
      files,
      commitTitle: options.title ?? `Upload ${paths.length} files`,
      useWebWorkers: false,
    });
    return output?.commit.oid ?? "";
  } catch (error) {
    if (error instanceof HubError) throw error;
    const status = error instanceof Error && "statusCode" in error ? error.statusCode : null;
    const reason = error instanceof Error ? error.message : String(error);
    const denied = status === 401 || status === 403;
    throw new HubError(
      denied ? "not allowed" : "refused",
      `Cannot upload ${folder} to ${repo}: ${reason}${
        denied ? "; the token in HF_TOKEN needs write access" : ""
      }`,
      { cause: error },
    );
  }
}

async function listFolder(root: string, under: string): Promise<string[]> {
  const paths: string[] = [];
  for await (const entry of Deno.readDir(join(root, under))) {
    if (entry.name.startsWith(".")) continue;
    const path = under === "" ? entry.name : `${under}/${entry.name}`;
    if (entry.isDirectory) paths.push(...await listFolder(root, path));
    else if (entry.isFile) paths.push(path);
  }
  return paths.sort();
}
