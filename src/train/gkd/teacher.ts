/**
 * The teacher of GKD: a frozen model with the student's vocabulary, which reads the student's inputs.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { type LoadedModel, loadModel } from "../../generate/load_model.ts";
import type { ModelBatch } from "../../model/batch.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";

// M tokens of answers, C channels of the teacher, V vocabulary

/** A token id that means something else to the other tokenizer; null: there is none. */
function firstOther(one: Tokenizer, other: Tokenizer): number | null {
  const size = Math.max(one.vocabSize, other.vocabSize);
  for (let id = 0; id < size; id++) if (one.idToToken(id) !== other.idToToken(id)) return id;
  return null;
}

/**
 * Checks that a teacher can read what a student reads, and that their distributions are over the same
 * tokens.
 *
 * @param name of the teacher, for the message
 * @throws {Error} if vocabularies, or the tiles and tokens of a picture, differ
 */
export function checkTeacher(student: LoadedModel, teacher: LoadedModel, name: string): void {
  const refuse = (what: string, wanted: string) => {
    throw new Error(`Cannot distil from ${name}: ${what}; want ${wanted}`);
  };
  const [own, other] = [student.model.config, teacher.model.config];
  if (own.lm_vocab_size !== other.lm_vocab_size) {
    refuse(
      `its vocabulary has ${other.lm_vocab_size} tokens, the student's ${own.lm_vocab_size}`,
      "a teacher with the student's tokenizer",
    );
  }
  const id = firstOther(student.tokenizer, teacher.tokenizer);
  if (id !== null) {
    const [ours, theirs] = [student, teacher].map(({ tokenizer }) => tokenizer.idToToken(id));
    refuse(
      `token ${id} is ${JSON.stringify(theirs)}, the student's is ${JSON.stringify(ours)}`,
      "a teacher with the student's tokenizer",
    );
  }
  if (student.model.imageTokenId !== teacher.model.imageTokenId) {
    refuse("its image token is another", "a teacher with the student's tokenizer");
  }
  if (own.mp_image_token_length !== other.mp_image_token_length) {
    refuse(
      `a tile is ${other.mp_image_token_length} tokens, the student's ${own.mp_image_token_length}`,
      "the same mp_image_token_length: both read the same prompts",
    );
  }
  const pictures = ({ imageProcessor }: LoadedModel) =>
    JSON.stringify([imageProcessor.options, imageProcessor.wholeTile]);
  if (pictures(student) !== pictures(teacher)) {
    refuse(
      `it sees pictures as ${pictures(teacher)}, the student as ${pictures(student)}`,
      "the same image processor: both read the same tiles",
    );
  }
}

/** A teacher. */
export class Teacher implements Disposable {
  /**
   * @param loaded the model, which reads what the student reads
   * @param name for reports
   * @param owned whether `[Symbol.dispose]()` frees the model
   */
  constructor(
    readonly loaded: LoadedModel,
    readonly name: string,
    readonly owned: boolean,
  ) {}

  /**
   * Loads a teacher; weights that its files hold in 16 bits stay in 16 bits.
   *
   * @param name a model's folder or Hub id
   * @throws {Error} if it does not load, or does not fit the student
   */
  static async load(name: string, student: LoadedModel): Promise<Teacher> {
    const loaded = await loadModel(name, { keepPacked: () => true });
    loaded.model.precision = student.model.precision;
    try {
      checkTeacher(student, loaded, name);
    } catch (error) {
      loaded.model.dispose();
      throw error;
    }
    return new Teacher(loaded, name, true);
  }

  /**
   * The teacher's states of some tokens, after its final norm; no gradient.
   *
   * @param rows numbers of the tokens
   * @returns [M, C]; the caller's to free
   */
  states(batch: ModelBatch, rows: Int32Array): tf.Tensor2D {
    const { model } = this.loaded;
    return tf.tidy(() =>
      model.hiddenStates(batch, {}, undefined, rows).reshape([rows.length, -1]) as tf.Tensor2D
    );
  }

  /**
   * Logits of some states.
   *
   * @param states of {@linkcode states}
   * @returns [count, V]
   */
  logits(states: tf.Tensor2D, first: number, count: number): tf.Tensor2D {
    return this.loaded.model.logits(states.slice([first, 0], [count, -1])) as tf.Tensor2D;
  }

  [Symbol.dispose](): void {
    if (this.owned) this.loaded.model.dispose();
  }
}
