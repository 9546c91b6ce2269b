/**
 * Kernel walls: restrictions that the operating system can add to a child. They are found at run
 * time and never required. On Linux: a separate network namespace (`unshare`), SIGKILL for the child
 * when its parent ends and no new privileges (`setpriv`), and limits on data, files and core dumps
 * (`prlimit`), and the files and system calls that are left (`perl`, see `kernel_filter.ts`).
 */
import { filterCommand, filterIsKnown } from "./kernel_filter.ts";
import { mayConnect, type ResolvedGrants } from "./sandbox_grants.ts";

/** The programs that were found. {@linkcode describeSystemWalls} puts them in words, for `doctor`. */
export interface SystemWalls {
  /** Path of `unshare` if it exists: an unprivileged network namespace. */
  unshare: string | null;
  /** Path of `setpriv` if it exists: the parent-death signal. */
  setpriv: string | null;
  /** Path of `prlimit` if it exists: resource limits. */
  prlimit: string | null;
  /** Path of `perl` if it exists: Landlock and seccomp. */
  perl?: string | null;
}

const NONE: SystemWalls = { unshare: null, setpriv: null, prlimit: null, perl: null };
const FOLDERS = ["/usr/bin", "/bin", "/usr/sbin"];
let found: Promise<SystemWalls> | undefined;
let proven = false;

/** The programs that exist. Whether they work is known when the first child starts. */
export function findSystemWalls(): Promise<SystemWalls> {
  found ??= Deno.build.os === "linux" ? look() : Promise.resolve(NONE);
  return found;
}

/** Whether a child has started behind these walls, or each was tried alone. */
export function wallsAreProven(): boolean {
  return proven;
}

/** Records that a child has started behind the walls that were found. */
export function wallsHold(): void {
  proven = true;
}

/** Tries each wall with a small Deno program and keeps those that work. */
export async function proveSystemWalls(): Promise<SystemWalls> {
  const there = await findSystemWalls();
  const names = ["unshare", "setpriv", "prlimit", "perl"] as const;
  const kept = { ...NONE };
  await Promise.all(names.map(async (name) => {
    const alone = { ...NONE, [name]: there[name] };
    const prefix = wallPrefix(alone, { memoryMb: 0, net: [], read: [] });
    if (prefix.length > 0 && await runs(prefix)) {
      kept[name] = there[name] ?? null;
    }
  }));
  found = Promise.resolve(kept);
  proven = true;
  return kept;
}

/** Assumes these walls, as on another system. For tests. */
export function assumeSystemWalls(walls: SystemWalls): void {
  found = Promise.resolve(walls);
  proven = false;
}

async function look(): Promise<SystemWalls> {
  const [unshare, setpriv, prlimit, perl] = await Promise.all(
    ["unshare", "setpriv", "prlimit", "perl"].map(async (name) => {
      if (name === "perl" && !filterIsKnown()) return null;
      for (const folder of FOLDERS) {
        const path = `${folder}/${name}`;
        if (await Deno.stat(path).then(({ isFile }) => isFile, () => false)) return path;
      }
      return null;
    }),
  );
  return { unshare, setpriv, prlimit, perl };
}

/** Whether Deno, with a worker as in a child, runs behind a prefix. */
async function runs([program, ...args]: string[]): Promise<boolean> {
  const worker = "data:text/javascript,postMessage(1)";
  const main = `new Worker("${worker}",{type:"module"}).onmessage=()=>Deno.exit(0)`;
  const deno = [Deno.execPath(), "run", "--no-prompt", "--no-config", "--quiet"];
  try {
    const { success } = await new Deno.Command(program, {
      args: [...args, ...deno, `data:text/javascript,${encodeURIComponent(main)}`],
      clearEnv: true,
      env: { DENO_DIR: "/dev/null/none" },
      cwd: "/",
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).output();
    return success;
  } catch {
    return false;
  }
}

/**
 * The command line before `deno` that sets up these walls.
 *
 * `unshare` comes first: entering a user namespace clears the parent-death signal. A module that
 * may use the network keeps the host's namespace.
 */
export function wallPrefix(
  walls: SystemWalls,
  grants: Pick<ResolvedGrants, "memoryMb" | "net" | "read">,
): string[] {
  const network = mayConnect(grants);
  const prefix: string[] = [];
  if (walls.unshare !== null && !network) {
    prefix.push(walls.unshare, "--user", "--net", "--ipc");
  }
  if (walls.setpriv !== null) {
    prefix.push(walls.setpriv, "--pdeathsig", "KILL", "--no-new-privs");
  }
  if (walls.prlimit !== null) {
    // Two V8 isolates reserve about 1.1 GB of address space that counts as data before it is used.
    const data = (grants.memoryMb * 2 + 2048) * 2 ** 20;
    prefix.push(walls.prlimit, "--core=0", "--fsize=0", "--nofile=256", `--data=${data}`);
  }
  // Last: it refuses the system calls of the others.
  if (walls.perl) prefix.push(...filterCommand(walls.perl, { read: grants.read, network }));
  return prefix;
}

/** One line for each wall, for `doctor`. */
export async function describeSystemWalls(): Promise<string[]> {
  if (Deno.build.os !== "linux") {
    return [
      `reward sandbox: Deno's permissions, process limits by the guard (no kernel walls used on ${Deno.build.os})`,
    ];
  }
  const walls = await proveSystemWalls();
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
    line(
      walls.perl ?? null,
      "perl",
      await filterWords(walls.perl ?? null),
      "files and system calls are closed by Deno's permissions alone (Perl adds Landlock and seccomp)",
    ),
  ];
}

/** What the kernel has of the filter. */
async function filterWords(perl: string | null): Promise<string> {
  if (perl === null) return "";
  const [program, ...args] = filterCommand(perl, { read: [], network: false }, "probe");
  const { stdout } = await new Deno.Command(program, {
    args,
    clearEnv: true,
    stdin: "null",
    stderr: "null",
  }).output();
  const found = new TextDecoder().decode(stdout).split(" ");
  return [
    found.includes("landlock")
      ? "Landlock leaves a reward process the runtime's files and what is granted"
      : "this kernel has no Landlock",
    found.includes("seccomp")
      ? "seccomp lets it neither listen nor start processes"
      : "this kernel has no seccomp",
  ].join("; ");
}
