import { assert, assertEquals } from "@std/assert";
import { RewardSandbox } from "../../src/rewards/mod.ts";
import { HOSTILE } from "./hostile_range.ts";
import { batchOf, TempModules } from "./temp_modules.ts";

const SPINS = `let turns = 0;
  const spin = async () => { for (;;) { for (let i = 0; i < 1e5; i++) turns++; await null; await new Promise((next) => queueMicrotask(next)); } };
  export async function spins({ completions }) {
    setTimeout(spin, 0);
    return completions.map(() => 1);
  }`;
const DERIVES = `const derive = async () => {
    const key = await crypto.subtle.importKey("raw", new Uint8Array(16), "PBKDF2", false, ["deriveBits"]);
    for (let i = 0; i < 8; i++) crypto.subtle.deriveBits({ name: "PBKDF2", hash: "SHA-512", salt: new Uint8Array(16), iterations: 5e6 }, key, 512);
  };
  export async function derives({ completions }) {
    await derive();
    return completions.map(() => 1);
  }`;

/** State letter and processor ticks of a process. */
function statOf(pid: number): { state: string; ticks: number } {
  const fields = Deno.readTextFileSync(`/proc/${pid}/stat`).replace(/^.*\) /, "").split(" ");
  return { state: fields[0], ticks: Number(fields[11]) + Number(fields[12]) };
}

function existsProcess(pid: number): boolean {
  try {
    return Deno.statSync(`/proc/${pid}`).isDirectory;
  } catch {
    return false;
  }
}

async function until(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !holds(); i++) await new Promise((next) => setTimeout(next, 10));
  assert(holds());
}

const modules = {
  spins: SPINS,
  derives: DERIVES,
  hang_background: await Deno.readTextFile(new URL("hang_background.js.txt", HOSTILE)),
  hang_after_answer: await Deno.readTextFile(new URL("hang_after_answer.js.txt", HOSTILE)),
};

for (const [name, source] of Object.entries(modules)) {
  Deno.test({
    name: `a process is stopped between calls and uses no processor time: ${name}`,
    ignore: Deno.build.os !== "linux",
    async fn() {
      await using files = await TempModules.write({ "module.js": source });
      await using sandbox = await RewardSandbox.start(
        [{ module: files.path("module.js"), timeoutMs: 5000 }],
        { log: () => {} },
      );
      // It hangs for good if its loop begins before the process is stopped: it is then replaced.
      const mayHang = name === "hang_after_answer";
      const [pid] = await sandbox.pids();
      for (let call = 0; call < 3; call++) {
        await until(() => statOf(pid).state === "T");
        const { ticks } = statOf(pid);
        await new Promise((next) => setTimeout(next, 150));
        assertEquals(statOf(pid), { state: "T", ticks });
        const { total } = await sandbox.score(batchOf(["x"]));
        if (mayHang && total[0] === null) {
          await until(() => !existsProcess(pid));
          break;
        }
        assertEquals(total, [1]);
        assertEquals(await sandbox.pids(), [pid]);
      }
    },
  });
}
