/**
 * `builtin:look_closer`: the model may look at a part of the picture before it answers. A turn that
 * begins with `look` and names a part (`look top left`, `look center`) is answered with that ninth of
 * the picture in full resolution; any other turn is the answer and ends the episode.
 *
 * It is an example to copy, too: an environment is a module with `reset` and `step`.
 *
 * @module
 */
import type {
  EnvironmentReply,
  EnvironmentStart,
  EnvironmentTurn,
} from "../../src/rewards/environment/types.ts"; // in your file: "@nanovlm/lab"

/** What an episode remembers. */
interface Looks {
  /** How often the model has looked. */
  looks: number;
}

/** The column and row, of three each, that a turn asks for; null if it asks for none. */
function partOf(answer: string): [column: number, row: number] | null {
  const words = answer.toLowerCase().split(/\s+/);
  if (words[0] !== "look") return null;
  const has = (word: string) => words.includes(word);
  const column = has("left") ? 0 : has("right") ? 2 : 1;
  const row = has("top") ? 0 : has("bottom") ? 2 : 1;
  return column === 1 && row === 1 && !has("center") ? null : [column, row];
}

/** Nothing has been looked at. */
export function reset({ prompts }: EnvironmentStart): Looks[] {
  return prompts.map(() => ({ looks: 0 }));
}

/** Shows the part that was asked for, or ends the episode. */
export function step({ answers, images, states }: EnvironmentTurn): EnvironmentReply[] {
  return answers.map((answer, i) => {
    const part = partOf(answer);
    if (part === null) return { done: true };
    const [column, row] = part;
    const [{ width, height }] = images[i];
    return {
      state: { looks: (states[i] as Looks).looks + 1 },
      images: [{
        image: 0,
        crop: [
          width * column / 3,
          height * row / 3,
          width * (column + 1) / 3,
          height * (row + 1) / 3,
        ],
      }],
    };
  });
}
