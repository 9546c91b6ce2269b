/**
 * What the page's module and its worker say to each other.
 *
 * @module
 */
import type { Answer, AskOptions, LoadOptions, LoadProgress, WebMessage } from "../web_api.ts";

/** To the worker. `id` numbers the requests. */
export type ToWorker =
  | {
    readonly type: "load";
    readonly id: number;
    /** Address of the folder with model.json. */
    readonly folder: string;
    readonly backend: NonNullable<LoadOptions["backend"]>;
    readonly keep: boolean;
  }
  | {
    readonly type: "ask";
    readonly id: number;
    readonly messages: readonly WebMessage[];
    readonly images: readonly Uint8Array<ArrayBuffer>[];
    readonly options: Omit<AskOptions, "onText" | "signal">;
  }
  /** Ends the request with that number. */
  | { readonly type: "abort"; readonly id: number };

/** What a loaded model says of itself. */
export interface Loaded {
  readonly name: string;
  readonly backend: string;
  readonly backendReason: string;
  readonly parameters: number;
}

/** From the worker. */
export type FromWorker =
  | { readonly type: "progress"; readonly id: number; readonly progress: LoadProgress }
  | { readonly type: "text"; readonly id: number; readonly piece: string }
  | { readonly type: "loaded"; readonly id: number; readonly loaded: Loaded }
  | { readonly type: "answered"; readonly id: number; readonly answer: Answer }
  | { readonly type: "failed"; readonly id: number; readonly name: string; readonly text: string };
