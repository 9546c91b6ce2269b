/**
 * A model's weights as one safetensors file of 16-bit numbers, cut into parts.
 *
 * @module
 */
import { elementCount } from "../element_count.ts";
import { float32ToBfloat16, float32ToFloat16 } from "../ops/half/half_precision.ts";
import { type HalfFileFormat, widenBits } from "../ops/half/packed_weight.ts";
import type { HostWeights, PackedHostWeights } from "../model/packed_weights.ts";
import type { SitePart } from "./site_manifest.ts";

/** How matrices are stored: `auto` keeps 16-bit ones and rounds float32 to `F16`, if it fits. */
export type ExportDtype = "auto" | HalfFileFormat;

/** How one weight is stored. Vectors, less than a thousandth of a model, stay float32. */
type StoredFormat = HalfFileFormat | "F32";

/** A weight, read when it is needed. */
export interface WeightToExport {
  readonly name: string;
  readonly shape: readonly number[];
  /** The numbers: 16-bit ones as their file has them. */
  read(): HostWeights | PackedHostWeights;
}

/** The rounded weights of an export. */
export interface ExportedWeights {
  readonly parts: readonly SitePart[];
  /** Numbers that 16 bits do not hold exactly, so that they were rounded. */
  readonly rounded: number;
  /** Numbers in all weights. */
  readonly count: number;
  readonly bytes: number;
}

const ROUND = { F16: float32ToFloat16, BF16: float32ToBfloat16 } as const;
const INFINITY_BITS = { F16: 0x7c00, BF16: 0x7f80 } as const;
/** Float16's largest number. */
const LARGEST_F16 = 65504;

function formatOf(weight: WeightToExport, wanted: ExportDtype): StoredFormat {
  if (weight.shape.length < 2) return "F32";
  if (wanted !== "auto") return wanted;
  const tensor = weight.read();
  if ("bits" in tensor) return tensor.format === "Q8" ? "F16" : tensor.format;
  // 16-bit floats have three more bits than bfloat16; weights are rarely beyond their range.
  return tensor.data.every((value) => !(Math.abs(value) > LARGEST_F16)) ? "F16" : "BF16";
}

/** A weight's bytes in the format, and how many of its numbers were rounded. */
function stored(
  { name, read }: WeightToExport,
  format: StoredFormat,
): { bytes: Uint8Array; rounded: number } {
  const tensor = read();
  const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array | Uint16Array) =>
    new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
  if ("bits" in tensor && tensor.format === format) {
    return { bytes: bytesOf(tensor.bits), rounded: 0 };
  }
  const floats = "bits" in tensor ? widenBits(tensor.bits, tensor.format) : tensor.data;
  if (format === "F32") return { bytes: bytesOf(floats), rounded: 0 };
  const bits = ROUND[format](floats);
  const back = widenBits(bits, format);
  let rounded = 0;
  for (let i = 0; i < bits.length; i++) {
    if ((bits[i] & 0x7fff) === INFINITY_BITS[format] && Number.isFinite(floats[i])) {
      throw new RangeError(
        `Cannot store ${name} in ${format}: it has the value ${floats[i]}, which is beyond the ` +
          "format's range; use --dtype bf16",
      );
    }
    if (!Object.is(back[i], floats[i]) && !Number.isNaN(floats[i])) rounded++;
  }
  return { bytes: bytesOf(bits), rounded };
}

function headerOf(entries: Record<string, unknown>): Uint8Array {
  const json = new TextEncoder().encode(JSON.stringify(entries));
  const length = Math.ceil(json.length / 8) * 8;
  const header = new Uint8Array(8 + length).fill(0x20, 8);
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true);
  header.set(json, 8);
  return header;
}

/** SHA-256 in hexadecimal. */
export async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

/**
 * Writes the weights as parts. Joined in order, the parts are one safetensors file.
 *
 * @param weights each is read twice
 * @param options how matrices are stored, and the most bytes of a part
 * @param write gets the name and the bytes of each part, which change after it returns
 * @throws {RangeError} if a number is beyond the range of the format
 */
export async function exportWeights(
  weights: readonly WeightToExport[],
  { dtype, partBytes }: { readonly dtype: ExportDtype; readonly partBytes: number },
  write: (file: string, bytes: Uint8Array<ArrayBuffer>) => Promise<void>,
): Promise<ExportedWeights> {
  const widths = { F32: 4, F16: 2, BF16: 2 } as const;
  const ordered = weights.map((weight) => ({ weight, format: formatOf(weight, dtype) }))
    .sort((a, b) => widths[b.format] - widths[a.format]);
  const entries: Record<string, unknown> = {};
  let end = 0, count = 0;
  for (const { weight: { name, shape }, format } of ordered) {
    const begin = end, size = elementCount(shape);
    end += size * widths[format];
    count += size;
    entries[name] = { dtype: format, shape, data_offsets: [begin, end] };
  }
  const parts: SitePart[] = [];
  const part = new Uint8Array(partBytes);
  let filled = 0, rounded = 0;
  const flush = async (): Promise<void> => {
    const bytes = part.subarray(0, filled);
    const file = `weights-${String(parts.length + 1).padStart(3, "0")}.bin`;
    await write(file, bytes);
    parts.push({ file, bytes: filled, sha256: await sha256(bytes) });
    filled = 0;
  };
  const append = async (bytes: Uint8Array): Promise<void> => {
    for (let from = 0; from < bytes.length;) {
      const taken = Math.min(bytes.length - from, partBytes - filled);
      part.set(bytes.subarray(from, from + taken), filled);
      filled += taken;
      from += taken;
      if (filled === partBytes) await flush();
    }
  };
  const header = headerOf(entries);
  await append(header);
  for (const { weight, format } of ordered) {
    const made = stored(weight, format);
    rounded += made.rounded;
    await append(made.bytes);
  }
  if (filled > 0) await flush();
  return { parts, rounded, count, bytes: header.length + end };
}
