/**
 * The benchmarks of `eval --benchmark`.
 *
 * Source: the task files of lmms-eval 0.7.3 (`lmms_eval/tasks/NAME`), with their defaults for models
 * that have no prompts of their own. Where a task gives no longest answer, it is 50 tokens, as in
 * nanoVLM's own `eval/lmms_eval_wrapper.py`.
 *
 * @module
 */
import type { Benchmark } from "./benchmark.ts";

const SHORT = "\nAnswer the question using a single word or phrase.";
const LETTER = "\nAnswer with the option's letter from the given choices directly.";
/** Where the task gives none. */
const DEFAULT_TOKENS = 50;

const image = { question: "question", pictures: ["image"] } as const;

function pope(name: string, part: { summary: string; config: string | null; split: string }) {
  return {
    name,
    ...part,
    hubId: "lmms-lab-encoder/POPE",
    columns: { ...image, answer: "answer" },
    prompt: "stripped",
    suffix: SHORT,
    score: "yes_no",
    total: "yes_no",
    reported: "pope_accuracy",
    maxNewTokens: 128,
  } as const;
}

function scienceqa(name: string, part: { summary: string; config: string }) {
  return {
    name,
    ...part,
    hubId: "lmms-lab-encoder/ScienceQA",
    split: "test",
    columns: { ...image, answer: "answer", options: "choices", hint: "hint", group: "subject" },
    prompt: "hint_options",
    suffix: LETTER,
    score: "letter_first",
    total: "mean",
    reported: "exact_match",
    maxNewTokens: 16,
  } as const;
}

/** Every benchmark, by name in alphabetical order. */
export const BENCHMARKS: readonly Benchmark[] = [
  {
    name: "ai2d",
    summary: "diagrams of school books, multiple choice",
    hubId: "lmms-lab-encoder/ai2d",
    config: null,
    split: "test",
    columns: { ...image, answer: "answer", options: "options" },
    prompt: "options",
    suffix: LETTER,
    score: "letter_or_text",
    total: "mean",
    reported: "exact_match",
    maxNewTokens: 16,
  },
  {
    name: "chartqa",
    summary: "questions about charts",
    hubId: "lmms-lab-encoder/ChartQA",
    config: null,
    split: "test",
    columns: { ...image, answer: "answer", group: "type" },
    prompt: "question",
    suffix: "\nAnswer the question with a single word.",
    score: "relaxed_accuracy",
    total: "mean",
    reported: "relaxed_overall",
    maxNewTokens: 16,
  },
  {
    name: "docvqa",
    summary: "questions about scanned documents (validation)",
    hubId: "lmms-lab-encoder/DocVQA",
    config: "DocVQA",
    split: "validation",
    columns: { ...image, answer: "answers" },
    prompt: "question",
    suffix: SHORT,
    score: "anls",
    total: "mean",
    reported: "anls",
    maxNewTokens: 32,
  },
  {
    name: "infovqa",
    summary: "questions about infographics (validation)",
    hubId: "lmms-lab-encoder/DocVQA",
    config: "InfographicVQA",
    split: "validation",
    columns: { ...image, answer: "answers" },
    prompt: "question",
    suffix: SHORT,
    score: "anls",
    total: "mean",
    reported: "anls",
    maxNewTokens: 32,
  },
  {
    name: "mme",
    summary: "perception and cognition, pairs of yes-or-no questions",
    hubId: "lmms-lab-encoder/MME",
    config: null,
    split: "test",
    columns: { ...image, answer: "answer", group: "category", subgroup: "question_id" },
    prompt: "stripped_yes_no",
    suffix: SHORT,
    score: "mme",
    total: "mme",
    reported: "mme_perception_score + mme_cognition_score",
    maxNewTokens: 16,
  },
  {
    name: "mmmu",
    summary: "college questions of 30 subjects (validation)",
    hubId: "lmms-lab-encoder/MMMU",
    config: null,
    split: "validation",
    columns: {
      question: "question",
      answer: "answer",
      pictures: Array.from({ length: 7 }, (_, i) => `image_${i + 1}`),
      options: "options",
      further: ["id", "question_type"],
    },
    prompt: "mmmu",
    suffix: "\n\nAnswer with the option's letter from the given choices directly.",
    score: "mmmu",
    total: "mean",
    reported: "mmmu_acc",
    maxNewTokens: 128,
  },
  {
    name: "mmstar",
    summary: "multiple choice that needs the picture",
    hubId: "Lin-Chen/MMStar",
    config: null,
    split: "val",
    columns: { ...image, answer: "answer", group: "category", subgroup: "l2_category" },
    prompt: "stripped_yes_no",
    suffix: "\nAnswer with the option's letter from the given choices directly",
    score: "choice",
    total: "mean_of_subgroups",
    reported: "average",
    maxNewTokens: DEFAULT_TOKENS,
  },
  {
    name: "ocrbench",
    summary: "reading text in pictures",
    hubId: "echo840/OCRBench",
    config: null,
    split: "test",
    columns: { ...image, answer: "answer", group: "question_type", further: ["dataset"] },
    prompt: "stripped",
    suffix: "",
    score: "ocrbench",
    total: "mean",
    reported: "ocrbench_accuracy",
    maxNewTokens: 128,
  },
  pope("pope", {
    summary: "objects that are in the picture or not, all three samplings",
    config: null,
    split: "test",
  }),
  pope("pope_adv", {
    summary: "POPE, objects that often occur together",
    config: "Full",
    split: "adversarial",
  }),
  pope("pope_pop", { summary: "POPE, frequent objects", config: "Full", split: "popular" }),
  pope("pope_random", { summary: "POPE, any objects", config: "Full", split: "random" }),
  {
    name: "realworldqa",
    summary: "photographs of streets and rooms",
    hubId: "lmms-lab-encoder/RealWorldQA",
    config: null,
    split: "test",
    columns: { ...image, answer: "answer" },
    prompt: "stripped",
    suffix: "",
    score: "choice_or_text",
    total: "mean",
    reported: "exact_match",
    maxNewTokens: 16,
  },
  scienceqa("scienceqa", {
    summary: "school science, with and without pictures",
    config: "ScienceQA-FULL",
  }),
  scienceqa("scienceqa_img", {
    summary: "ScienceQA, the questions with pictures",
    config: "ScienceQA-IMG",
  }),
  {
    name: "textvqa",
    summary: "questions about text in photographs (validation)",
    hubId: "lmms-lab-encoder/textvqa",
    config: null,
    split: "validation",
    columns: { ...image, answer: "answers" },
    prompt: "capitalized",
    suffix: SHORT,
    score: "vqa_accuracy:textvqa",
    total: "mean",
    reported: "exact_match",
    maxNewTokens: DEFAULT_TOKENS,
  },
  {
    name: "vqav2",
    summary: "questions about photographs (validation)",
    hubId: "lmms-lab-encoder/VQAv2",
    config: null,
    split: "validation",
    columns: { ...image, answer: "answers" },
    prompt: "question",
    suffix: SHORT,
    score: "vqa_accuracy:vqav2",
    total: "mean",
    reported: "exact_match",
    maxNewTokens: 16,
  },
];

/** Names of all benchmarks. */
export const BENCHMARK_NAMES: readonly string[] = BENCHMARKS.map(({ name }) => name);

/**
 * A benchmark by its name.
 *
 * @throws {RangeError} if there is none of that name
 */
export function benchmarkOf(name: string): Benchmark {
  const benchmark = BENCHMARKS.find((one) => one.name === name);
  if (benchmark !== undefined) return benchmark;
  throw new RangeError(`Unknown benchmark ${name}; want one of ${BENCHMARK_NAMES.join(", ")}`);
}
