import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** Why the tests of several ranks cannot run here; null if they can. */
export const noMpirun: string | null = await (async () => {
  try {
    const { success } = await new Deno.Command("mpirun", {
      args: ["--version"],
      stdout: "null",
      stderr: "null",
    }).output();
    return success ? null : "mpirun fails";
  } catch {
    return "no mpirun (on Debian: apt install openmpi-bin)";
  }
})();

/** The options of a test that needs `mpirun`; its name says why it is skipped. */
export function withMpirun(name: string, fn: () => Promise<void>): Deno.TestDefinition {
  return noMpirun === null
    ? { name, fn }
    : { name: `${name} [skipped: ${noMpirun}]`, ignore: true, fn };
}

/** How a job is started. */
export interface JobOptions {
  readonly env?: Readonly<Record<string, string>>;
}

/** Starts a program of this project on several ranks of this machine, one thread each. */
export function startJob(
  ranks: number,
  program: readonly string[],
  { env = {} }: JobOptions = {},
): Deno.ChildProcess {
  return new Deno.Command("mpirun", {
    args: [
      ...["-n", String(ranks), "--oversubscribe", "--bind-to", "none"],
      ...[Deno.execPath(), "run", "-A", "--no-check", "--quiet", ...program],
    ],
    cwd: root,
    stdout: "piped",
    stderr: "piped",
    env: {
      OMPI_ALLOW_RUN_AS_ROOT: "1",
      OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: "1",
      NANOVLM_THREADS: "1",
      NO_COLOR: "1",
      OMPI_MCA_mpi_yield_when_idle: "1",
      ...env,
    },
  }).spawn();
}

/** What a job printed, and its exit code. */
export interface JobResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Waits for a job. */
export async function endOf(job: Deno.ChildProcess): Promise<JobResult> {
  const { code, stdout, stderr } = await job.output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

/** Runs a program on several ranks. */
export async function runJob(
  ranks: number,
  program: readonly string[],
  options: JobOptions = {},
): Promise<JobResult> {
  return await endOf(startJob(ranks, program, options));
}
