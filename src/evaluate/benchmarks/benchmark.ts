/**
 * What a benchmark is: where its rows are, how they become questions, and how answers are scored.
 *
 * @module
 */

/** How the text of a question is made of a row. */
export type PromptForm =
  /** The question and the suffix. */
  | "question"
  /** The same without outer white space. */
  | "stripped"
  /** The same without outer white space and without " Please answer yes or no.". */
  | "stripped_yes_no"
  /** The question with a capital first letter and the others small. */
  | "capitalized"
  /** The question, then a line for each option: `A. text`. */
  | "options"
  /** The hint as `Context: …`, the question, the options. */
  | "hint_options"
  /** MMMU's: options if there are any, and a suffix of its own for open questions. */
  | "mmmu";

/** How one answer is scored, 0 … 1. */
export type ScoreForm =
  | "anls"
  | "relaxed_accuracy"
  | "vqa_accuracy:vqav2"
  | "vqa_accuracy:textvqa"
  | "choice"
  | "yes_no"
  /** `contains`, in the style that the row's `dataset` wants. */
  | "ocrbench"
  /** The letter alone, or at the start with a period after it. */
  | "letter_first"
  /** A letter with a period at the start, else the whole text, without case and punctuation. */
  | "letter_or_text"
  /** `choice` if the answer is A, B, C or D, else the same text. */
  | "choice_or_text"
  /** Yes or no within the first four characters. */
  | "mme"
  | "mmmu";

/** How the scores of all questions become the benchmark's number. */
export type TotalForm =
  /** The mean over the questions. */
  | "mean"
  /** The mean over the groups of `subgroup` of their means (MMStar). */
  | "mean_of_subgroups"
  /** The mean with precision, recall and F1 of "yes" (POPE). */
  | "yes_no"
  /** MME's perception and cognition: points a category, of pairs of questions. */
  | "mme";

/** Names of a benchmark's columns. */
export interface BenchmarkColumns {
  readonly question: string;
  /** An answer, a list of them, or the number of an option. */
  readonly answer: string;
  /** The columns with pictures; they stand before the question. */
  readonly pictures: readonly string[];
  readonly options?: string;
  readonly hint?: string;
  /** By whose values results are also given. */
  readonly group?: string;
  /** Of `mean_of_subgroups`, and the pairs of `mme`. */
  readonly subgroup?: string;
  /** Further columns that prompts or scores need. */
  readonly further?: readonly string[];
}

/** A benchmark, as lmms-eval defines it. */
export interface Benchmark {
  /** What `--benchmark` calls it. */
  readonly name: string;
  readonly summary: string;
  /** Id on the Hub. */
  readonly hubId: string;
  /** Configuration of the data set; null: its default. */
  readonly config: string | null;
  readonly split: string;
  readonly columns: BenchmarkColumns;
  readonly prompt: PromptForm;
  /** Stands after the question. */
  readonly suffix: string;
  readonly score: ScoreForm;
  readonly total: TotalForm;
  /** What lmms-eval calls the number. */
  readonly reported: string;
  /** Longest answer, tokens. */
  readonly maxNewTokens: number;
}
