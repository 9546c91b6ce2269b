/** Three small runs as the trainers report them: their reports have before, after and answers. */
import type { EvaluationSample } from "../../src/report/evaluation_sample.ts";
import { RunDirectory } from "../../src/report/files/run_directory.ts";
import { Reporter } from "../../src/report/reporter.ts";
import type { RunInfo } from "../../src/report/run_info.ts";
import { plainPicture } from "./example_run.ts";
import { fakeTerminal } from "./terminal/fake_terminal.ts";

const COLOURS: readonly (readonly [name: string, red: number, green: number, blue: number])[] = [
  ["red", 220, 40, 40],
  ["green", 40, 170, 70],
  ["blue", 50, 90, 230],
];

const info = (label: string): RunInfo => ({
  title: `${label.toUpperCase()} on drawings`,
  label,
  totalSteps: 20,
  facts: [{ title: "Model", facts: [["parameters", 1234]] }],
  configYaml: `training_type: ${label}\n`,
});

async function start(dir: string, label: string): Promise<Reporter> {
  const reporter = new Reporter(RunDirectory.open(dir), fakeTerminal(false));
  await reporter.onStart(info(label));
  return reporter;
}

/** 30 questions; after training the blue ones are taken for green, and the yes-or-no ones are right. */
export function storyAnswers(isAfter: boolean): EvaluationSample[] {
  return Array.from({ length: 30 }, (_, i) => {
    const [colour, red, green, blue] = COLOURS[i % 3];
    const isColour = i % 2 === 0;
    const expected = isColour ? colour : i % 4 === 1 ? "yes" : "no";
    const learned = expected === "blue" ? "green" : expected;
    const answer = isAfter ? learned : isColour ? "red" : "maybe";
    return {
      id: String(i),
      pictures: [plainPicture(red, green, blue)],
      question: isColour ? "Which colour is it?" : "Is it dark?",
      expected,
      answer,
      correct: answer === expected,
      type: isColour ? "colour" : "yes_no",
    };
  });
}

/** SFT: all questions before and after. */
export async function storySFT(dir: string): Promise<void> {
  const reporter = await start(dir, "sft");
  const before = storyAnswers(false), after = storyAnswers(true);
  await reporter.onBefore({ eval_loss: 4 }, { shown: before.slice(0, 8), all: before });
  for (let step = 1; step <= 20; step++) {
    reporter.onStep(step, 64);
    await reporter.onLog({ step, loss: 3 / step, learning_rate: 1e-3, grad_norm: 1 });
  }
  await reporter.onEvaluate({ step: 20, eval_loss: 0.2, eval_runtime: 1 }, after.slice(0, 8));
  await reporter.onEnd({
    status: "done",
    tables: [{
      title: "Exact match on held-out pictures",
      columns: ["answerer", "questions", "before", "after"],
      rows: [["this model", 30, "20.0 %", "83.3 %"], ["  colour", 15, "33.3 %", "66.7 %"]],
    }],
    headlines: [{ name: "Right answers", value: "83.3 %", before: "16.7 %" }],
    answers: { shown: after, all: after },
    next: [{ label: "ask it", command: "deno task generate --model M --prompt Q" }],
  });
}

function storyPairs(shift: number): EvaluationSample[] {
  return COLOURS.map(([colour, red, green, blue], i) => {
    const margin = shift - i;
    return {
      id: `pairs ${i}`,
      pictures: [plainPicture(red, green, blue)],
      question: "Describe it.",
      expected: colour,
      answer: margin > 0 ? colour : "something",
      correct: margin > 0,
      pair: { chosen: colour, rejected: "something", margin, referenceMargin: 0.5 - i },
    };
  });
}

/** DPO: three pairs, of which one stays wrong. */
export async function storyDPO(dir: string): Promise<void> {
  const reporter = await start(dir, "dpo");
  const before = storyPairs(0.5), after = storyPairs(1.5);
  await reporter.onBefore(
    { eval_loss: 0.69, eval_preference_accuracy: 1 / 3 },
    { shown: before, all: before },
  );
  for (let step = 1; step <= 20; step++) {
    await reporter.onLog({ step, loss: 0.6, "rewards/margins": step / 10 });
  }
  const record = { step: 20, eval_loss: 0.4, eval_preference_accuracy: 2 / 3, eval_runtime: 1 };
  await reporter.onEvaluate(record, after, after);
  await reporter.onEnd({ status: "done", answers: { shown: after, all: after } });
}

/** GRPO: two prompts with the same text about different pictures. */
export async function storyGRPO(dir: string): Promise<void> {
  const reporter = await start(dir, "grpo");
  const answers = storyAnswers(false).map((sample) => ({ ...sample, reward: 0.5 }));
  await reporter.onBefore({ eval_reward: 0.25 }, { shown: answers.slice(0, 3), all: answers });
  for (let step = 1; step <= 20; step++) {
    await reporter.onLog({ step, loss: 1e-17, reward: step / 20, "rewards/accuracy/mean": 0.5 });
  }
  reporter.onCompletions([0, 0, 1, 1].map((group, i) => ({
    step: 20,
    prompt: "Which colour is it?",
    group,
    completion: i % 2 === 0 ? "red" : "blue",
    rewards: { accuracy: i === 0 || i === 3 ? 1 : 0 },
    reward: i === 0 || i === 3 ? 1 : 0,
    advantage: i === 0 || i === 3 ? 1 : -1,
    expected: group === 0 ? "red" : "blue",
    pictures: [group === 0 ? plainPicture(220, 40, 40) : plainPicture(50, 90, 230)],
  })));
  await reporter.onEvaluate({ step: 20, eval_reward: 0.75, eval_runtime: 1 }, answers, answers);
  await reporter.onEnd({
    status: "done",
    headlines: [{ name: "Held-out reward", value: "0.7500", before: "0.2500" }],
  });
}
