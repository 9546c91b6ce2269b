import type { LoadedModel } from "../../generate/load_model.ts";
import { ChatExampleBuilder } from "../../text/chat_example.ts";
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
 */
export function exampleParts(
  { model, tokenizer, imageProcessor }: LoadedModel,
  workers: number | null,
): ExampleParts {
  return {
    builder: new ChatExampleBuilder(tokenizer, {
      mpImageTokenLength: model.config.mp_image_token_length,
    }),
    tiles: new TileCache(imageProcessor, { workers }),
    imageTokenId: model.imageTokenId,
  };
}
