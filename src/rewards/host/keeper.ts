/**
 * Kills stopped children when the trainer is gone, on systems without a parent-death signal. A stopped
 * process cannot notice by itself that its stdin was closed.
 *
 * One small shell for each trainer: it gets the process ids on stdin, and kills them when its stdin
 * ends, which the kernel does however the trainer ends.
 */

const SCRIPT = `trap "" INT TERM HUP QUIT
p=" "
while read -r s n; do
  case $s in
    +) p="$p$n " ;;
    -) p="\${p%% $n *} \${p#* $n }" ;;
  esac
done
for n in $p; do kill -KILL $n; done 2>/dev/null`;

let shell: { process: Deno.ChildProcess; writer: WritableStreamDefaultWriter<Uint8Array> } | null =
  null;
const kept = new Set<number>();

async function write(line: string): Promise<boolean> {
  try {
    await shell?.writer.write(new TextEncoder().encode(`${line}\n`));
    return shell !== null;
  } catch {
    return false;
  }
}

/**
 * Has a process killed when this one ends.
 *
 * @returns whether it is kept; a process that is not kept must not be stopped
 */
export async function keep(pid: number): Promise<boolean> {
  if (Deno.build.os === "windows") return false;
  try {
    if (shell === null) {
      const process = new Deno.Command("/bin/sh", {
        args: ["-c", SCRIPT],
        clearEnv: true,
        cwd: "/",
        stdin: "piped",
        stdout: "null",
        stderr: "null",
      }).spawn();
      process.unref();
      const started = { process, writer: process.stdin.getWriter() };
      shell = started;
      process.status.then(() => {
        if (shell === started) shell = null;
      });
    }
  } catch {
    return false;
  }
  kept.add(pid);
  return await write(`+ ${pid}`);
}

/** Lets a process go that has ended. The shell ends with the last one. */
export async function letGo(pid: number): Promise<void> {
  if (!kept.delete(pid) || shell === null) return;
  if (kept.size > 0) return void await write(`- ${pid}`);
  const { process, writer } = shell;
  shell = null;
  process.ref();
  await writer.write(new TextEncoder().encode(`- ${pid}\n`)).catch(() => {});
  await writer.close().catch(() => {});
  await process.status;
}
