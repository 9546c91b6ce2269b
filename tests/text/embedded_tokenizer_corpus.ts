/**
 * The training corpus of the embedded tokenizer, and the script that writes it:
 * `deno run --allow-write tests/text/embedded_tokenizer_corpus.ts`
 */
import { everyAnswer, everyQuestion } from "../../src/data/embedded/embedded_shapes_questions.ts";
import { learnMerges, type WeightedText } from "../../src/text/train_bpe.ts";

/** 3 special tokens, 256 bytes, and these make 512. */
export const MERGE_COUNT = 253;

const ENGLISH = `
The picture shows one red circle and two blue squares. There is a small green triangle on the left
side of the image, and a big yellow star on the right. What can you see in this picture? I can see
that there are three shapes, and all of them are white. The answer is four. Which of these is not
like the others? This one is near the top, that one is at the bottom, the third is in the center.
Please describe what you see, with as few words as you can. A model learns to look at an image and
to answer questions about it: how many things there are, what color they have, where they stand.
It was the best of times, it was the worst of times; we had everything before us, we had nothing
before us. Then he said that she would have to go, because they could not wait for him any longer.
Who are you? When will it be? Why do people say so? How does this work, and what is it for? Here is
the first part of the text, which is about the world, its people, their work and their time. After
that you will find more. Some of it is new, most of it is old, but all of it has been made by hand.
think answer number format true false first second next last image question user assistant system
`;

/** The corpus: texts of the data set have far more weight than general English. */
export function embeddedTokenizerCorpus(): WeightedText[] {
  return [
    ...everyQuestion().map((text) => ({ text, weight: 1000 })),
    ...everyAnswer().map((text) => ({ text, weight: 3000 })),
    ...["user", "assistant", "system"].map((text) => ({ text, weight: 3000 })),
    { text: ENGLISH.replaceAll("\n", " "), weight: 1 },
  ];
}

/** The module's text. */
export function embeddedTokenizerModule(): string {
  const merges = learnMerges(embeddedTokenizerCorpus(), MERGE_COUNT)
    .map((pair) => pair.join(" "));
  const lines: string[] = [];
  for (const merge of merges) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + merge.length + 1 <= 96) {
      lines[lines.length - 1] = `${last},${merge}`;
    } else lines.push(merge);
  }
  return lines.join("\n");
}

if (import.meta.main) {
  const path = new URL("../../src/text/embedded_tokenizer.ts", import.meta.url);
  const source = await Deno.readTextFile(path);
  const start = source.indexOf("`\n") + 2, end = source.indexOf("\n`;");
  await Deno.writeTextFile(
    path,
    source.slice(0, start) + embeddedTokenizerModule() + source.slice(end),
  );
}
