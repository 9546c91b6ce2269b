import type { EvaluationSample } from "../../src/report/evaluation_sample.ts";
import type { RawPicture } from "../../src/report/page/picture.ts";
import type { ProgressTerminal } from "../../src/report/terminal/progress.ts";
import { Reporter } from "../../src/report/reporter.ts";
import type { RunInfo } from "../../src/report/run_info.ts";
import { RunDirectory } from "../../src/report/files/run_directory.ts";

/** A text that would take the page over if anything of it ran. */
export const HOSTILE =
  `</script><img src=x onerror="globalThis.hacked=1"><script>globalThis.hacked=2</script>` +
  `'"--><svg onload=globalThis.hacked=3>`;

/** A picture of one colour. */
export function plainPicture(red: number, green: number, blue: number): RawPicture {
  const data = new Uint8Array(16 * 16 * 3);
  for (let i = 0; i < data.length; i += 3) data.set([red, green, blue], i);
  return { width: 16, height: 16, data };
}

/** What the example's trainer tells at the start. */
export const EXAMPLE_INFO: RunInfo = {
  title: `GRPO of nanoVLM ${HOSTILE}`,
  label: "grpo",
  totalSteps: 30,
  facts: [{ title: `Model ${HOSTILE}`, facts: [["parameters", 1234], [HOSTILE, HOSTILE]] }],
  configYaml: `training_type: grpo # ${HOSTILE}\n`,
};

/** Two questions, the second one hostile and wrongly answered. */
export function exampleSamples(answer: string): EvaluationSample[] {
  const pictures = [plainPicture(255, 0, 0)];
  return [
    { pictures, question: "What colour?", expected: "red", answer, correct: answer === "red" },
    { pictures, question: HOSTILE, expected: HOSTILE, answer: HOSTILE, correct: false },
  ];
}

/** Runs a whole small run through a reporter, hostile in every text it has. */
export async function runExample(dir: string, terminal: ProgressTerminal): Promise<void> {
  const reporter = new Reporter(RunDirectory.open(dir), terminal);
  await reporter.onStart(EXAMPLE_INFO);
  reporter.onWarning(`Watch out: ${HOSTILE}`);
  reporter.onWarning(`Watch out: ${HOSTILE}`);
  reporter.onSkipped([{ place: "row 3", reason: HOSTILE }], 40);
  await reporter.onEvaluate({ step: 0, eval_loss: 3, eval_exact_match: 0.1 }, exampleSamples("?"));
  for (let step = 1; step <= 30; step++) {
    reporter.onStep(step, 64);
    await reporter.onLog({
      step,
      loss: 3 / step,
      learning_rate: 1e-4,
      grad_norm: 1,
      reward: step / 30,
      [`rewards/${HOSTILE}/mean`]: step,
      "time/decode": 1,
    });
  }
  reporter.onCompletions([0, 1].map((i) => ({
    step: 30,
    prompt: HOSTILE,
    completion: i === 0 ? HOSTILE : "",
    rewards: { [HOSTILE]: i },
    reward: i,
    advantage: i === 0 ? -1 : 1,
    pictures: [plainPicture(0, 0, 255)],
  })));
  const last = { step: 30, eval_loss: 0.5, eval_exact_match: 0.9 };
  await reporter.onEvaluate(last, exampleSamples("red"));
  await reporter.onEnd({
    status: "done",
    tables: [{
      title: HOSTILE,
      columns: ["when", HOSTILE],
      rows: [["before", 0.1], [HOSTILE, 0.9]],
    }],
    next: [{ label: HOSTILE, command: `deno task generate --prompt '${HOSTILE}'` }],
  });
}
