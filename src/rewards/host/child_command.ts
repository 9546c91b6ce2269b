/** The command line and environment of a child process. */
import { childEntry } from "../child/program.ts";
import { findSystemWalls, wallPrefix } from "./system_walls.ts";
import type { SandboxGrants } from "../types.ts";

/** A command that starts a child with exactly the given grants. */
export interface ChildCommand {
  program: string;
  args: string[];
  env: Record<string, string>;
  cwd: string;
}

/** Thrown if this process lacks a permission that the sandbox needs. */
export class SandboxPermissionError extends Error {
  override name = "SandboxPermissionError";
}

function allow(flag: string, granted: string[] | boolean | undefined): string[] {
  if (granted === true) return [`--allow-${flag}`];
  if (!Array.isArray(granted) || granted.length === 0) return [`--deny-${flag}`];
  for (const item of granted) {
    if (item === "" || item.includes(",")) {
      throw new TypeError(
        `Cannot grant ${flag} ${JSON.stringify(item)}: want one name without commas`,
      );
    }
  }
  return [`--allow-${flag}=${granted.join(",")}`];
}

/** Builds the command. @throws {SandboxPermissionError} if this process lacks permissions */
export async function childCommand(grants: SandboxGrants): Promise<ChildCommand> {
  const memoryMb = grants.memoryMb ?? 512;
  const env: Record<string, string> = {
    DENO_WEBGPU_BACKEND: "none",
    DENO_NO_UPDATE_CHECK: "1",
    // No folder can be created below a device file: the child keeps no cache and no storage.
    DENO_DIR: Deno.build.os === "windows" ? "NUL\\none" : "/dev/null/none",
    NO_COLOR: "1",
  };
  const network = grants.allowNet === true ||
    (Array.isArray(grants.allowNet) && grants.allowNet.length > 0);
  // Variables that the runtime itself needs; the module does not see them.
  const runtime = [
    ...(Deno.build.os === "windows" ? ["SystemRoot"] : []),
    ...(network ? ["DENO_CERT", "DENO_TLS_CA_STORE", "SSL_CERT_FILE", "SSL_CERT_DIR"] : []),
  ].filter((name) =>
    Deno.permissions.querySync({ name: "env", variable: name }).state === "granted"
  );
  for (const name of [...runtime, ...(grants.allowEnv ?? [])]) {
    const value = Deno.env.get(name);
    if (value !== undefined) env[name] = value;
  }
  const args = [
    "run",
    "--quiet",
    "--no-prompt",
    "--no-config",
    "--no-lock",
    "--no-remote",
    "--no-npm",
    "--cached-only",
    "--no-code-cache",
    "--node-modules-dir=none",
    `--v8-flags=--max-old-space-size=${Math.max(memoryMb, 64)},--single-threaded-gc`,
    ...allow("net", grants.allowNet),
    ...allow("read", grants.allowRead),
    ...allow("env", grants.allowEnv),
    "--deny-write",
    "--deny-run",
    "--deny-sys",
    "--deny-ffi",
    "--deny-import",
    childEntry,
  ];
  let deno: string;
  try {
    deno = Deno.execPath();
  } catch (error) {
    throw new SandboxPermissionError(
      "Cannot start a reward process: this process may not read the path of deno; run with --allow-read",
      { cause: error },
    );
  }
  const prefix = wallPrefix(await findSystemWalls(), { memoryMb, network });
  const [program, ...rest] = [...prefix, deno, ...args];
  // A module that may read files can use relative paths.
  const bare = Deno.build.os === "windows" ? env.SystemRoot ?? "C:\\" : "/";
  const cwd = grants.allowRead ? Deno.cwd() : bare;
  return { program, args: rest, env, cwd };
}
