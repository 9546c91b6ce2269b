/**
 * The few protobuf messages that an event file of scalars and texts needs.
 * Source: tensorboard/compat/proto/{event,summary,tensor}.proto.
 *
 * @module
 */
import { double, float, join, message, text, varint } from "../protobuf.ts";

const DT_STRING = 7;
const SESSION_START = 1;

/** What one event carries beside its time and step. */
export type EventContent =
  | { readonly kind: "version" }
  | { readonly kind: "sessionStart" }
  | { readonly kind: "scalars"; readonly values: readonly (readonly [string, number])[] }
  | { readonly kind: "text"; readonly tag: string; readonly text: string };

/**
 * Encodes tensorboard.Event.
 *
 * @param wallTimeSeconds when, in seconds since 1970
 * @param step the optimizer step
 * @param content what happened
 * @returns the message's bytes
 */
export function encodeEvent(
  wallTimeSeconds: number,
  step: number,
  content: EventContent,
): Uint8Array {
  return join([double(1, wallTimeSeconds), varint(2, step), encodeContent(content)]);
}

function encodeContent(content: EventContent): Uint8Array {
  switch (content.kind) {
    case "version":
      return text(3, "brain.Event:2");
    case "sessionStart":
      return message(7, varint(1, SESSION_START));
    case "scalars":
      return message(
        5,
        ...content.values.map(([tag, value]) => message(1, text(1, tag), float(2, value))),
      );
    case "text": {
      const shape = message(2, message(2, varint(1, 1)));
      const tensor = message(8, varint(1, DT_STRING), shape, text(8, content.text));
      const metadata = message(9, message(1, text(1, "text")));
      return message(5, message(1, text(1, content.tag), tensor, metadata));
    }
  }
}
