import { assert, assertEquals } from "@std/assert";
import { parseConfig } from "../../../src/config/load_config.ts";
import { configFault, leastConfig } from "../config_fault.ts";

const config = (grpo: string) => leastConfig("grpo", `grpo: ${grpo}`);

Deno.test("max_tool_calling_iterations sets the number of turns", () => {
  const turns = (grpo: string) => parseConfig(config(grpo)).grpo.max_turns;
  assertEquals(turns("{ environment: a.ts }"), 4);
  assertEquals(turns("{ environment: a.ts, max_tool_calling_iterations: 0 }"), 1);
  assertEquals(turns("{ environment: a.ts, max_tool_calling_iterations: 5 }"), 6);
  assertEquals(turns("{ environment: a.ts, max_tool_calling_iterations: 5, max_turns: 6 }"), 6);
});

Deno.test("environment_options take the keys of rewards but the weight", () => {
  const { grpo } = parseConfig(
    config("{ environment: a.ts, environment_options: { timeout_ms: 50, allow_net: [a:1] } }"),
  );
  assertEquals(grpo.environment_options, { timeout_ms: 50, allow_net: ["a:1"] });
});

for (
  const [grpo, key, text] of [
    ["{ max_tool_calling_iterations: 2 }", "grpo.max_tool_calling_iterations", "grpo.environment"],
    [
      "{ environment_options: { timeout_ms: 5 } }",
      "grpo.environment_options",
      "wants grpo.environment",
    ],
    ["{ environment: env.py }", "grpo.environment", "Python file"],
    [
      "{ environment: a.ts, max_turns: 2, max_tool_calling_iterations: 2 }",
      "grpo.max_turns",
      "keep one of them",
    ],
    ["{ environment: a.ts, max_turns: 0 }", "grpo.max_turns", "1"],
    [
      "{ environment: a.ts, environment_options: { weight: 2 } }",
      "grpo.environment_options.weight",
      "no such key",
    ],
  ] as const
) {
  Deno.test(`parseConfig() refuses grpo: ${grpo}`, () => {
    const error = configFault(config(grpo));
    assertEquals(error.key, key);
    assert(error.message.includes(text), error.message);
  });
}
