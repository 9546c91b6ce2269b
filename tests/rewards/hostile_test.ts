import { assert, assertEquals } from "@std/assert";
import { RewardSandbox } from "../../src/rewards/mod.ts";
import { assumeSystemWalls } from "../../src/rewards/host/system_walls.ts";
import { HOSTILE, Range, type Traces } from "./hostile_range.ts";

// `REWARD_SUITE_WALLS=none` tests without kernel walls, as on a system that has none.
if (Deno.env.get("REWARD_SUITE_WALLS") === "none") {
  assumeSystemWalls({ unshare: null, setpriv: null, prlimit: null, perl: null });
}

const names = [...Deno.readDirSync(HOSTILE)].map(({ name }) => name.replace(".js.txt", "")).sort();

/** What a module prints if it succeeds. Each is also checked by another trace or a null score. */
const BOASTS = [
  "SECRET-",
  "ENV",
  "GPU",
  "LISTENING",
  "NATIVE",
  "GRANTED",
  "FLAGS",
  "INSPECTOR",
  "STOLEN",
  "OVERHEARD",
];

/** Modules that must not be evaluated. */
const REFUSED =
  /^(read_import_(text|bytes|json|module|encoded|symlink|folder_symlink|hidden|beside|device|pipe|source_phase)|read_export_from|read_node_fs|net_import_literal|hang_(await_)?at_load|memory_at_load|end_parser)$/;
/** Modules whose every call must fail. */
const FAILED =
  /^(hang_(?!after|background|at_load|await)|memory_(?!workers|wasm)|answer_(?!getters)|end_(stack|throw_strange|signals)|forge_to_json)/;

function judge(name: string, traces: Traces, secret: string): void {
  const { output, results, loadError } = traces;
  assert(!output.includes(secret), `${name}: the secret came out: ${output}`);
  for (const boast of BOASTS) {
    assert(!output.includes(boast), `${name}: it says ${boast}: ${output}`);
  }
  assertEquals(traces.packets, 0, `${name}: it reached the listener`);
  assertEquals(traces.newFiles, [], `${name}: it left files`);
  assertEquals(traces.leftProcesses, [], `${name}: it left processes`);
  assert(traces.longestMs < 15_000, `${name}: a call took ${traces.longestMs} ms`);
  assert(traces.peakMb < 420, `${name}: it took ${traces.peakMb} MB of 200`);
  assert(output.length < 60_000, `${name}: it made the host keep ${output.length} characters`);
  assertEquals(REFUSED.test(name), loadError !== null, `${name}: loaded or not: ${loadError}`);
  for (const { functions } of results) {
    for (const { scores, error, printed } of functions) {
      assertEquals(scores.length, 3, name);
      const fits = scores.every((score) => score === null || score === 1);
      const forged = /^forge_(name|late)$/.test(name);
      assert(fits || forged, `${name}: scored ${scores}`);
      if (name === "forge_late") {
        assert(!(scores as unknown[]).includes(7), `${name}: a late answer counted`);
      }
      if (FAILED.test(name)) {
        assert(error !== null, `${name}: its call did not fail`);
        assertEquals(scores, [null, null, null], name);
      }
      for (const line of [...printed, error ?? ""]) {
        assert(!/[\p{Cc}\p{Cf}]/u.test(line), `${name}: control characters in ${line}`);
      }
    }
  }
}

Deno.test({
  name: "the sandbox holds against every hostile module, in one run with an honest one",
  // Traces of processes and memory are read from /proc.
  ignore: Deno.build.os !== "linux",
  async fn(t) {
    await using range = await Range.lay();
    const honestModule = `${range.folder}/honest.ts`;
    await Deno.writeTextFile(
      honestModule,
      `export function honest({ completions, factor }) {
        return completions.map((text, i) => factor[i] === 0 ? null : text.length * factor[i]);
      }`,
    );
    await using honest = await RewardSandbox.start([{ module: honestModule }]);
    let calls = 0;
    let honestCalls = 0;
    const beside = async (): Promise<void> => {
      const n = honestCalls++;
      const completions = Array.from({ length: 8 }, (_, i) => "x".repeat(n + i));
      const factor = completions.map((_, i) => (n + i) % 4);
      const { total } = await honest.score({
        prompts: completions,
        completions,
        columns: { factor },
      });
      const right = completions.map((text, i) => factor[i] === 0 ? null : text.length * factor[i]);
      assertEquals(total, right);
    };
    for (const name of names) {
      await t.step(name, async () => {
        const slow = /^(hang|memory)/.test(name);
        const traces = await range.run(name, {
          calls: slow ? 2 : 3,
          timeoutMs: slow ? 300 : 1500,
          memoryMb: 200,
          beside,
        });
        calls += traces.results.length;
        judge(name, traces, range.secret);
      });
    }
    await t.step("it survived at least 200 calls", () => {
      assert(names.length >= 40, `${names.length} modules`);
      assert(calls >= 200, `${calls} calls`);
      // Not the resident set: with --parallel other test files live in the same process.
      const { heapUsed, external } = Deno.memoryUsage();
      const heldMb = (heapUsed + external) / 2 ** 20;
      assert(heldMb < 400, `the host holds ${heldMb} MB`);
    });
  },
});
