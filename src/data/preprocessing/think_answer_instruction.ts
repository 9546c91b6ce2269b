/**
 * The instruction before a question that needs reasoning. The tags are those that
 * NanoVLM-Lab's reward functions look for.
 */
export const THINK_ANSWER_INSTRUCTION =
  "Work through the question step by step before you answer it. Put your reasoning between " +
  "<think> and </think>, and after it the answer alone between <answer> and </answer>: " +
  "<think> your reasoning </think><answer> your answer </answer>";

/** The instruction, then the question. */
export function askWithInstruction(question: string): string {
  return `${THINK_ANSWER_INSTRUCTION}\n\n${question}`;
}
