import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { Progress, progressLine } from "../../../src/report/terminal/progress.ts";
import { formatDuration } from "../../../src/report/terminal/duration.ts";
import { displayWidth } from "../../../src/report/terminal/terminal_text.ts";
import { fakeTerminal } from "./fake_terminal.ts";

const STATE = {
  step: 120,
  totalSteps: 500,
  loss: 1.23456,
  learningRate: 5e-5,
  tokensPerSecond: 12345.6,
  secondsLeft: 130,
  note: "reward 0.41",
};

Deno.test("progressLine() has everything on a wide terminal", () => {
  const line = progressLine("sft", STATE, 120);
  for (const part of ["sft 120/500 24%", "loss 1.235", "lr 5.0e-5", "12,346 tokens/s"]) {
    assertStringIncludes(line, part);
  }
  assertMatch(line, /━{7}─{23} .*reward 0\.41.*2m 10s left$/);
});

Deno.test("progressLine() fits any width, and drops the remaining time last", () => {
  for (let width = 1; width < 130; width++) {
    assert(displayWidth(progressLine("sft", STATE, width)) <= width);
  }
  assertEquals(progressLine("sft", STATE, 30), "sft 120/500 24%  2m 10s left");
});

Deno.test("Progress redraws one line at most ten times a second, and the last step always", () => {
  const terminal = fakeTerminal(true);
  let now = 0;
  const progress = new Progress("sft", terminal, () => now);
  for (let step = 1; step <= 100; step++) {
    now += 9.9;
    progress.update({ step, totalSteps: 100 });
  }
  progress.finish();
  const drawn = terminal.text.split("\r").length - 1;
  assert(drawn >= 9 && drawn <= 12, `drawn ${drawn} times in 0.99 s`);
  assertStringIncludes(terminal.text.split("\r").pop() ?? "", "100/100 100%");
  assert(terminal.text.endsWith("\n"), "the terminal is given back on a line of its own");
});

Deno.test("Progress prints lines above the bar", () => {
  const terminal = fakeTerminal(true);
  const progress = new Progress("sft", terminal, () => 0);
  progress.update({ step: 1, totalSteps: 2 });
  progress.print("warning: x");
  progress.finish();
  assertStringIncludes(terminal.text, "\r\x1b[Kwarning: x\n\rsft 1/2 50%");
});

Deno.test("Progress without a terminal writes plain lines, at the logging steps only", () => {
  const terminal = fakeTerminal(false);
  const progress = new Progress("sft", terminal, () => 0);
  progress.update(STATE);
  assertEquals(terminal.text, "");
  progress.log(STATE);
  progress.finish();
  assertEquals(
    terminal.text,
    "sft: step 120/500 (24%)  loss 1.235  reward 0.41  lr 5.0e-5  12,346 tokens/s  2m 10s left\n",
  );
});

Deno.test("formatDuration() reads as a person says it", () => {
  assertEquals([0, 59.4, 60, 3599, 3600, 86399, 273600].map(formatDuration), [
    "0s",
    "59s",
    "1m 00s",
    "59m 59s",
    "1h 00m",
    "23h 59m",
    "3d 04h",
  ]);
});
