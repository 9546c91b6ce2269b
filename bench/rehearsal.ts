/**
 * Asks a model questions without pictures and writes the first sentences of its own answers as rows,
 * so that a training on pictures can rehearse them: the model keeps answering as it did.
 *
 *     deno run -A bench/rehearsal.ts --model FOLDER --out FOLDER [--tokens 40]
 *
 * Writes OUT/rehearsal.jsonl, rows of `dataset_format: vqa`.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { initBackend } from "../src/device/backend.ts";
import { loadModel } from "../src/generate/load_model.ts";

/** `{}` takes each of the words. */
const QUESTIONS: readonly (readonly [question: string, words: readonly string[]])[] = [
  ["What is the capital of {}?", ["Italy", "Spain", "Japan", "Egypt", "Canada", "Greece", "Peru"]],
  ["Where is {}?", ["Berlin", "the Nile", "Mount Everest", "Chicago", "Kenya"]],
  ["What is {}?", ["a verb", "gravity", "photosynthesis", "a prime number", "a mammal", "an atom"]],
  ["Who was {}?", ["Isaac Newton", "Marie Curie", "Mozart", "Charles Darwin", "Cleopatra"]],
  ["What does a {} do?", ["teacher", "baker", "plumber", "pilot", "farmer"]],
  ["Name three {}.", ["animals", "fruits", "planets", "musical instruments", "sports"]],
  ["Why is {} important?", ["sleep", "water", "reading", "exercise", "honesty"]],
  ["How do I {}?", ["boil an egg", "write a letter", "plant a tree", "learn a language"]],
  ["Write a sentence about {}.", ["the sea", "winter", "a cat", "a train", "music"]],
  ["Is {}?", ["the earth round", "ice cold", "a whale a fish", "seven an even number"]],
];

if (import.meta.main) {
  const flags = parseArgs(Deno.args, {
    string: ["model", "out", "tokens"],
    default: { tokens: "40" },
  });
  const folder = String(flags.out ?? "");
  if (folder === "") throw new Error("Cannot write rows: name a folder with --out");
  await initBackend({ backend: "auto" });
  const { model } = await loadModel(String(flags.model));
  const prompts = QUESTIONS.flatMap(([question, words]) =>
    words.map((word) => question.replace("{}", word))
  );
  const lines: string[] = [];
  for (let i = 0; i < prompts.length; i += 10) {
    const some = prompts.slice(i, i + 10);
    const answers = await model.generate(some.map((prompt) => ({ prompt })), {
      greedy: true,
      maxNewTokens: Number(flags.tokens),
    });
    some.forEach((prompt, k) => {
      // The first sentence: the answer may be cut off behind it.
      const text = /^[^\n]*?[.!?](?=\s|$)/.exec(answers[k].text.trim())?.[0];
      if (text !== undefined) lines.push(JSON.stringify({ question: prompt, answer: text }));
    });
  }
  model.dispose();
  await Deno.mkdir(folder, { recursive: true });
  await Deno.writeTextFile(`${folder}/rehearsal.jsonl`, lines.join("\n") + "\n");
  console.log(`${lines.length} answers to ${prompts.length} questions`);
}
