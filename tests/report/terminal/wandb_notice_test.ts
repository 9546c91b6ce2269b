import { assertEquals, assertStringIncludes } from "@std/assert";
import { wandbNotice } from "../../../src/report/terminal/wandb_notice.ts";

Deno.test({
  name: "wandbNotice() gives a command that a shell hands to Python as it was meant",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    const notice = wandbNotice("it's/metrics.jsonl", "a 'b'");
    const command = notice.split("\n")[1];
    const { stdout } = await new Deno.Command("sh", {
      args: ["-c", command.replace("python -c", "printf %s")],
    }).output();
    const script = new TextDecoder().decode(stdout);
    assertStringIncludes(script, `wandb.init(project="a 'b'")`);
    assertStringIncludes(script, `open("it's/metrics.jsonl")`);
    assertEquals(wandbNotice("m", null).includes("wandb.init()"), true);
  },
});
