import type { LoadedModel } from "../../generate/load_model.ts";
import { ChatExampleBuilder, type LossTokens } from "../../text/chat_example.ts";
import { TileCache } from "./tile_cache.ts";

/** What turns rows into the model's inputs. */
export interface ExampleParts {
  /** Tokenizes conversations. */
  readonly builder: ChatExampleBuilder;
  /** Processes images. */
  readonly tiles: TileCache;
  /** The token that stands for a patch. */
  readonly imageTokenId: number;
}

/**
 * The parts that fit a model.
 *
 * @param workers threads that decode pictures (`training.dataloader_num_workers`)
 * @param lossTokens of a conversation; default: those of the answers
 */
export function exampleParts(
  { model, tokenizer, imageProcessor }: LoadedModel,
  workers: number | null,
  lossTokens: LossTokens = "answers",
): ExampleParts {
  return {
    builder: new ChatExampleBuilder(tokenizer, {
      mpImageTokenLength: model.config.mp_image_token_length,
      lossTokens,
    }),
    tiles: new TileCache(imageProcessor, { workers }),
    imageTokenId: model.imageTokenId,
  };
}
