/**
 * A model out of the files of a site, on the current backend.
 *
 * @module
 */
import type { TextModel } from "../../generate/generate_with_model.ts";
import type { ImageProcessor } from "../../image/image_processor.ts";
import { familyOf } from "../../model/families/families.ts";
import { checkVLMConfig } from "../../model/families/check_config.ts";
import { isPackable, type PackedHostWeights } from "../../model/packed_weights.ts";
import { parseSafetensorsHeader } from "../../model/safetensors/header.ts";
import { VLM } from "../../model/vlm.ts";
import { weightSpecs } from "../../model/weight_shapes.ts";
import { readsPackedFast, widenBits } from "../../ops/half/packed_weight.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
import { SiteError } from "../site_manifest.ts";
import type { PartLoader } from "./part_loader.ts";

/** Takes bytes off a list of files as if they were one. */
class JoinedParts {
  #part: Uint8Array = new Uint8Array(0);
  #at = 0;

  constructor(readonly parts: AsyncIterator<Uint8Array>) {}

  /** The next bytes, copied to the start of a buffer of their own. */
  async take(count: number): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = new Uint8Array(count);
    for (let filled = 0; filled < count;) {
      if (this.#at === this.#part.length) {
        const next = await this.parts.next();
        if (next.done) {
          throw new SiteError(`Cannot read the weights: they end ${count - filled} bytes too soon`);
        }
        this.#part = next.value;
        this.#at = 0;
      }
      const piece = this.#part.subarray(this.#at, this.#at + count - filled);
      bytes.set(piece, filled);
      filled += piece.length;
      this.#at += piece.length;
    }
    return bytes;
  }
}

/** A model in the browser, with what turns texts and pictures into its inputs. */
export class SiteModel extends VLM implements TextModel {
  readonly tokenizerProblem = "";

  private constructor(
    readonly name: string,
    readonly tokenizer: Tokenizer | null,
    readonly imageProcessor: ImageProcessor,
    ...parameters: ConstructorParameters<typeof VLM>
  ) {
    super(...parameters);
  }

  /**
   * Loads all files and copies the weights to the current backend.
   *
   * @throws {SiteError} if files are missing, damaged, or do not fit each other
   */
  static async load(loader: PartLoader): Promise<SiteModel> {
    const { name, config, texts, weights } = loader.manifest;
    checkVLMConfig(config, "model.json");
    const files = new Map<string, string>();
    for (const part of texts) {
      files.set(part.file, new TextDecoder().decode(await loader.bytes(part)));
    }
    const processing = familyOf(config).processingOf(config, files, "the site");
    const { tokenizer, imageProcessor, imageTokenId } = processing;
    const model = new SiteModel(name, tokenizer, imageProcessor, config, [], imageTokenId);
    try {
      const total = weights.reduce((sum, { bytes }) => sum + bytes, 0);
      await model.#fill(new JoinedParts(loader.inOrder(weights)), total);
      return model;
    } catch (error) {
      model.dispose();
      throw error;
    }
  }

  async #fill(parts: JoinedParts, total: number): Promise<void> {
    const length = Number(new DataView((await parts.take(8)).buffer).getBigUint64(0, true));
    if (length > total) throw new SiteError("Cannot read the weights: their header is damaged");
    const header = parseSafetensorsHeader(await parts.take(length), total, "the weights");
    const wanted = new Map(weightSpecs(this.config).map(({ name, shape }) => [name, shape]));
    for (const { name, dtype, shape, begin, end } of header.entries.values()) {
      if (String(wanted.get(name)) !== String(shape)) {
        throw new SiteError(`Cannot use the weights: ${name} [${shape}] is not in the config`);
      }
      wanted.delete(name);
      const { buffer } = await parts.take(end - begin);
      if (dtype === "F32") this.hold([[name, { shape, data: new Float32Array(buffer) }]]);
      else if (dtype === "F16" || dtype === "BF16") {
        this.#holdHalf(name, { shape, format: dtype, bits: new Uint16Array(buffer) });
      } else throw new SiteError(`Cannot use the weights: ${name} is stored as ${dtype}`);
    }
    if (wanted.size > 0) {
      throw new SiteError(`Cannot use the weights: ${[...wanted.keys()][0]} is missing`);
    }
  }

  #holdHalf(name: string, packed: PackedHostWeights): void {
    const { shape, format, bits } = packed;
    const keeps = isPackable(shape) && readsPackedFast(format);
    this.hold([[name, keeps ? packed : { shape, data: widenBits(bits, format) }]]);
  }
}
