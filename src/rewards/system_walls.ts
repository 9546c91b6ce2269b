/**
 * What the operating system can add around a child, found at run time and never required: on Linux
 * a network namespace of its own (`unshare`), the death of the child with its parent and no new
 * privileges (`setpriv`), and limits on data, files and cores (`prlimit`).
 */

/** What was found. {@linkcode describeSystemWalls} says it in words, for `doctor`. */
export interface SystemWalls {
  /** Path of `unshare`, where an unprivileged network namespace can be had. */
  unshare: string | null;
  /** Path of `setpriv`, where the parent's death can be followed. */
  setpriv: string | null;
  /** Path of `prlimit`, where resource limits can be set. */
  prlimit: string | null;
}

const NONE: SystemWalls = { unshare: null, setpriv: null, prlimit: null };
let found: Promise<SystemWalls> | undefined;

/** Looks once for what this system offers. Needs `--allow-run`; without it nothing is found. */
export function findSystemWalls(): Promise<SystemWalls> {
  found ??= Deno.build.os === "linux" ? probe() : Promise.resolve(NONE);
  return found;
}

/** Does without what was found, as on a system that has none of it: for tests. */
export function withoutSystemWalls(): void {
  found = Promise.resolve(NONE);
}

async function works(name: string, args: string[]): Promise<string | null> {
  for (const folder of ["/usr/bin", "/bin", "/usr/sbin"]) {
    const path = `${folder}/${name}`;
    try {
      const { success } = await new Deno.Command(path, {
        args,
        clearEnv: true,
        cwd: "/",
        stdin: "null",
        stdout: "null",
        stderr: "null",
      }).output();
      return success ? path : null;
    } catch {
      // Not there, or not allowed to be started: look further.
    }
  }
  return null;
}

async function probe(): Promise<SystemWalls> {
  const [unshare, setpriv, prlimit] = await Promise.all([
    works("unshare", ["--user", "--net", "--ipc", "/bin/true"]),
    works("setpriv", ["--pdeathsig", "KILL", "--no-new-privs", "/bin/true"]),
    works("prlimit", ["--core=0", "--fsize=0", "--data=4000000000", "/bin/true"]),
  ]);
  return { unshare, setpriv, prlimit };
}

/**
 * The command line in front of `deno` that puts these walls up.
 *
 * `unshare` comes first: entering a user namespace clears the parent-death signal. A module that
 * may use the network keeps the host's namespace.
 */
export function wallPrefix(
  walls: SystemWalls,
  limits: { memoryMb: number; network: boolean },
): string[] {
  const prefix: string[] = [];
  if (walls.unshare !== null && !limits.network) {
    prefix.push(walls.unshare, "--user", "--net", "--ipc");
  }
  if (walls.setpriv !== null) {
    prefix.push(walls.setpriv, "--pdeathsig", "KILL", "--no-new-privs");
  }
  if (walls.prlimit !== null) {
    // Two V8 isolates reserve about 1.1 GB of address space that counts as data before they use it.
    const data = (limits.memoryMb * 2 + 2048) * 2 ** 20;
    prefix.push(walls.prlimit, "--core=0", "--fsize=0", "--nofile=256", `--data=${data}`);
  }
  return prefix;
}

/** One line a wall, for `doctor`. */
export async function describeSystemWalls(): Promise<string[]> {
  if (Deno.build.os !== "linux") {
    return [
      `reward sandbox: Deno's permissions, process limits by the guard (no kernel walls used on ${Deno.build.os})`,
    ];
  }
  const walls = await findSystemWalls();
  const line = (path: string | null, name: string, what: string, lack: string): string =>
    `reward sandbox: ${path === null ? `no ${name}: ${lack}` : `${name}: ${what}`}`;
  return [
    line(
      walls.unshare,
      "unshare",
      "reward processes without network grants get an empty network namespace",
      "the network is closed by Deno's permissions alone (util-linux and user namespaces add a second wall)",
    ),
    line(
      walls.setpriv,
      "setpriv",
      "the kernel ends reward processes with the trainer",
      "reward processes end themselves when the trainer is gone (util-linux lets the kernel do it)",
    ),
    line(
      walls.prlimit,
      "prlimit",
      "no written files, no cores, bounded data segment",
      "memory is bounded by the guard and the host alone (util-linux adds kernel limits)",
    ),
  ];
}
