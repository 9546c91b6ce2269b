/**
 * A message of a conversation.
 *
 * @module
 */

/** One message of a conversation. */
export interface ChatMessage {
  role: string;
  content: string;
}
