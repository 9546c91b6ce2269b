import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { compare, medians, runAgainst, splitCommand } from "../../src/bench/against.ts";

/** A command that runs `code`. */
const program = (code: string) => `${Deno.execPath()} eval '${code}'`;

Deno.test("splitCommand() splits at spaces and keeps quoted words whole", () => {
  assertEquals(splitCommand(`  python "my script.py" --name='a b' -n  3 `), [
    "python",
    "my script.py",
    "--name=a b",
    "-n",
    "3",
  ]);
  assertEquals(splitCommand(""), []);
  assertThrows(() => splitCommand(`python "open`), Error, "stays open");
});

Deno.test("runAgainst() reads the numbers of the last JSON line", async () => {
  const code = `console.log("{}\\nloading\\n" + JSON.stringify({ model: "tiny", step_s: 0.5 }))`;
  assertEquals(await runAgainst(program(code)), { step_s: 0.5 });
});

Deno.test("runAgainst() says what went wrong", async () => {
  await assertRejects(() => runAgainst(""), Error, "empty");
  await assertRejects(() => runAgainst("/no/such/program"), Error, "/no/such/program");
  await assertRejects(() => runAgainst(program("Deno.exit(3)")), Error, "exit code 3");
  await assertRejects(() => runAgainst(program("console.log(1)")), Error, "--json");
});

/** Prints the peak of its own memory, as programs in Python measure it. */
const PEAK = `
import json, resource
print(json.dumps({"peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
`;

async function hasPython(): Promise<boolean> {
  try {
    return (await new Deno.Command("python3", { args: ["--version"] }).output()).success;
  } catch {
    return false;
  }
}

Deno.test({
  name: "runAgainst() does not add our memory to the other program's (needs Linux and python3)",
  ignore: Deno.build.os !== "linux" || !await hasPython(),
  async fn() {
    const script = await Deno.makeTempFile({ suffix: ".py" });
    await Deno.writeTextFile(script, PEAK);
    const held = new Uint8Array(400 * 2 ** 20).fill(1);
    const { peak_mib } = await runAgainst(`python3 "${script}"`);
    await Deno.remove(script);
    assert(held.length > 0 && peak_mib < 300, String(peak_mib));
  },
});

Deno.test("compare() divides ours by theirs, round by round, if both have a number", () => {
  const ratios = compare([
    { ours: { step_s: 2, own_s: 1, loss: 3 }, theirs: { step_s: 1, other_s: 1, loss: 3 } },
    { ours: { step_s: 3, own_s: 1, loss: 3 }, theirs: { step_s: 1, other_s: 1, loss: 3 } },
    { ours: { step_s: 9, own_s: 1, loss: 3 }, theirs: { step_s: 10, other_s: 1, loss: 3 } },
  ]);
  assertEquals(ratios, [
    { name: "step_s", ours: 3, theirs: 1, ratio: 2, smallest: 0.9, largest: 3 },
  ]);
});

Deno.test("medians() of rounds are those of each number", () => {
  assertEquals(medians([{ a: 1, b: 9 }, { a: 3, b: 8 }, { a: 2, b: 1 }]), { a: 2, b: 8 });
  assertEquals(medians([{ a: 1 }, { a: 4 }]), { a: 2.5 });
});
