import { assert, assertEquals } from "@std/assert";
import { RewardSandbox } from "../../src/rewards/mod.ts";
import { assumeSystemWalls } from "../../src/rewards/host/system_walls.ts";
import { Range } from "./hostile_range.ts";
import { SECOND_MODULES } from "./second_modules.ts";

// `REWARD_SUITE_WALLS=none` tests without kernel walls, as on a system that has none.
if (Deno.env.get("REWARD_SUITE_WALLS") === "none") {
  assumeSystemWalls({ unshare: null, setpriv: null, prlimit: null, perl: null });
}

Deno.test({
  name: "the sandbox holds against fifty further modules, beside an honest one",
  // Traces of processes and memory are read from /proc.
  ignore: Deno.build.os !== "linux",
  async fn(t) {
    await using range = await Range.lay();
    await Deno.writeTextFile(
      `${range.folder}/honest.js`,
      "export const honest = ({ completions }) => completions.map((text) => text.length);",
    );
    await using honest = await RewardSandbox.start([{ module: `${range.folder}/honest.js` }]);
    let calls = 0;
    const beside = async (): Promise<void> => {
      const completions = Array.from({ length: 4 }, (_, i) => "x".repeat(i + calls % 7));
      calls++;
      const { total } = await honest.score({ prompts: completions, completions });
      assertEquals(total, completions.map((text) => text.length));
    };
    for (const [name, [fate, source]] of Object.entries(SECOND_MODULES)) {
      await t.step(name, async () => {
        const slow = /^(hang|memory|forge_clocks)/.test(name);
        const limits = { calls: 2, timeoutMs: slow ? 500 : 4000, memoryMb: 200, beside };
        const traces = await range.run(name, limits, source);
        const { output, results, loadError } = traces;
        assert(!output.includes(range.secret), `the secret came out: ${output}`);
        assert(!/GOT/.test(output), output);
        if (name === "read_stack_paths") {
          assert(!results.some(({ functions }) => functions[0].printed.join().includes("/tmp/")));
        }
        assertEquals(traces.packets, 0);
        assertEquals(traces.newFiles, []);
        assertEquals(traces.leftProcesses, []);
        assert(traces.longestMs < 15_000, `a call took ${traces.longestMs} ms`);
        assert(traces.peakMb < 420, `it took ${traces.peakMb} MB of 200`);
        assert(output.length < 60_000, `the host keeps ${output.length} characters`);
        assertEquals(loadError !== null, fate === "refused", String(loadError));
        for (const { functions } of results) {
          for (const { name, scores, error, printed } of functions) {
            assert(/^[\w$]+$/.test(name), name);
            assertEquals(scores.length, 3);
            assert(scores.every((score) => score === null || score === 1), `scored ${scores}`);
            if (fate === "scores") assertEquals([error, scores], [null, [1, 1, 1]]);
            if (fate === "fails") assert(error !== null);
            for (const line of [...printed, error ?? ""]) assert(!/[\p{Cc}\p{Cf}]/u.test(line));
          }
        }
      });
    }
    assert(Object.keys(SECOND_MODULES).length >= 50);
  },
});
