/** The command line and environment of a child process. */
import { childEntry } from "../child/program.ts";
import { findSystemWalls, wallPrefix } from "./system_walls.ts";
import { mayConnect, mayRead, type ResolvedGrants } from "./sandbox_grants.ts";

/** A command that starts a child with exactly the given grants. */
export interface ChildCommand {
  program: string;
  args: string[];
  env: Record<string, string>;
  cwd: string;
  /** Whether the kernel kills the child when this process ends. */
  endsWithParent: boolean;
}

/** Thrown if this process lacks a permission that the sandbox needs. */
export class SandboxPermissionError extends Error {
  override name = "SandboxPermissionError";
}

function allow(flag: string, granted: true | readonly string[]): string[] {
  if (granted === true) return [`--allow-${flag}`];
  return granted.length === 0 ? [`--deny-${flag}`] : [`--allow-${flag}=${granted.join(",")}`];
}

/** Builds the command. @throws {SandboxPermissionError} if this process lacks permissions */
export async function childCommand(grants: ResolvedGrants): Promise<ChildCommand> {
  const { memoryMb } = grants;
  const env: Record<string, string> = {
    DENO_WEBGPU_BACKEND: "none",
    DENO_NO_UPDATE_CHECK: "1",
    // No folder can be created below a device file: the child keeps no cache and no storage.
    DENO_DIR: Deno.build.os === "windows" ? "NUL\\none" : "/dev/null/none",
    NO_COLOR: "1",
    // One time zone and locale: scores do not depend on the machine, and a module does not learn them.
    TZ: "UTC",
    LC_ALL: "C",
  };
  const network = mayConnect(grants);
  // Variables that the runtime itself needs; the module does not see them.
  const runtime = [
    ...(Deno.build.os === "windows" ? ["SystemRoot"] : []),
    ...(network ? ["DENO_CERT", "DENO_TLS_CA_STORE", "SSL_CERT_FILE", "SSL_CERT_DIR"] : []),
  ].filter((name) =>
    Deno.permissions.querySync({ name: "env", variable: name }).state === "granted"
  );
  for (const name of [...runtime, ...grants.env]) {
    const value = Object.hasOwn(env, name) ? undefined : Deno.env.get(name);
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
    `--v8-flags=--max-old-space-size=${Math.max(memoryMb, 64)},--single-threaded-gc,` +
    "--disallow-code-generation-from-strings",
    ...allow("net", grants.net),
    ...allow(
      "read",
      grants.read === true ? true : [...new Set([...grants.read, ...grants.readAsStated])],
    ),
    ...allow("env", grants.env),
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
  const walls = await findSystemWalls();
  const [program, ...rest] = [...wallPrefix(walls, grants), deno, ...args];
  return {
    program,
    args: rest,
    env,
    cwd: workingDirectory(grants, env.SystemRoot),
    endsWithParent: walls.setpriv !== null,
  };
}

/** The user's working directory if it is granted or holds a granted path, for relative paths. */
function workingDirectory(grants: ResolvedGrants, systemRoot: string | undefined): string {
  const bare = Deno.build.os === "windows" ? systemRoot ?? "C:\\" : "/";
  if (grants.read !== true && grants.read.length === 0) return bare;
  const cwd = Deno.realPathSync(Deno.cwd());
  const holds = grants.read !== true && grants.read.some((path) => mayRead({ read: [cwd] }, path));
  return holds || mayRead(grants, cwd) ? cwd : bare;
}
