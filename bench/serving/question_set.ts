/**
 * Questions about drawn pictures, and the answers that `generate` gives to each alone.
 *
 * @module
 */
import { embeddedShapes } from "../../src/data/embedded/embedded_shapes.ts";
import { everyQuestion } from "../../src/data/embedded/embedded_shapes_questions.ts";
import { encodePng } from "../../src/data/embedded/embedded_shapes_png.ts";
import { generateText } from "../../src/generate/generate_text.ts";
import { loadModel } from "../../src/generate/load_model.ts";

/** How answers of a question are chosen. */
export interface QuestionSettings {
  readonly temperature: number;
  readonly max_tokens: number;
  readonly n: number;
  readonly seed: number;
}

/** A request and its right answers. */
export interface Question {
  /** The name under which the server has the model. */
  readonly model: string;
  readonly text: string;
  /** Data URLs. */
  readonly pictures: readonly string[];
  readonly settings: QuestionSettings;
  /** One for each of the `n` answers. */
  readonly answers: readonly string[];
}

/** Body of the chat API's request. */
export function requestBody(question: Question, further: Readonly<Record<string, unknown>> = {}) {
  const { model, text, pictures, settings } = question;
  return {
    model,
    ...settings,
    messages: [{
      role: "user",
      content: [
        ...pictures.map((url) => ({ type: "image_url", image_url: { url } })),
        { type: "text", text },
      ],
    }],
    ...further,
  };
}

/** What to ask of one model. */
export interface QuestionPlan {
  /** The server's name of it. */
  readonly name: string;
  /** Its folder. */
  readonly model: string;
  readonly adapter?: string;
  readonly count: number;
  readonly settings: QuestionSettings;
}

/**
 * Questions with no, one or two pictures, with their answers: each is generated alone, on the current
 * backend.
 */
export async function makeQuestions(plan: QuestionPlan): Promise<Question[]> {
  const { count, settings } = plan;
  const { model, tokenizer, imageProcessor } = await loadModel(plan.model, {
    adapter: plan.adapter,
  });
  try {
    const drawn = embeddedShapes({ seed: 3 }).test.slice(0, 24);
    const files = drawn.map(({ image }) => encodePng(image));
    const words = everyQuestion();
    const questions: Question[] = [];
    for (let i = 0; i < count; i++) {
      const text = words[i * 7 % words.length];
      const pictured = Array.from(
        { length: [1, 1, 1, 2, 0][i % 5] },
        (_, k) => files[(i + k) % 24],
      );
      const images = await Promise.all(pictured.map((file) => imageProcessor.process(file)));
      const generations = await generateText(model, tokenizer, [{
        messages: [{ role: "user", content: text }],
        images,
      }], {
        greedy: settings.temperature === 0,
        temperature: settings.temperature === 0 ? 1 : settings.temperature,
        maxNewTokens: settings.max_tokens,
        numReturnSequences: settings.n,
        seed: settings.seed,
      });
      questions.push({
        model: plan.name,
        text,
        pictures: pictured.map((file) => `data:image/png;base64,${file.toBase64()}`),
        settings,
        answers: generations.map((generation) => generation.text),
      });
    }
    return questions;
  } finally {
    model.dispose();
  }
}
