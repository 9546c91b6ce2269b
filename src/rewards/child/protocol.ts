/** The messages between host and guard (over sealed frames), and between guard and realm. */

import type { CodecLimits } from "./codec.ts";

/** How a module's bytes are interpreted. */
export type ModuleKind = "typescript" | "javascript" | "json" | "text" | "bytes" | "empty";

/** One module of a checked graph, as the child gets it. */
export interface ModuleSource {
  url: string;
  kind: ModuleKind;
  /** Text; bytes if the kind is `bytes`. */
  source: string | Uint8Array;
}

/** An import found in a module. */
export interface ImportRequest {
  /** URL of the importing module. */
  from: string;
  specifier: string;
  /** The `type` import attribute, or "". */
  type: string;
  /** A literal `import()`. It is refused only when the module executes it. */
  dynamic: boolean;
}

/** `from`, `specifier` and `type`, joined by newlines, to the URL of the imported module. */
export type Resolutions = Record<string, string>;

/** Host to guard. */
export type HostMessage =
  | { type: "limits"; memoryMb: number }
  | { type: "parse"; modules: ModuleSource[] }
  | {
    type: "link";
    entry: string;
    resolutions: Resolutions;
    /** Paths that the module may read, with links resolved; `true` for any. */
    reads: true | string[];
    timeoutMs: number;
  }
  | {
    type: "call";
    id: number;
    name: string;
    /** The encoded arguments; the guard passes them on unread. */
    args: Uint8Array;
    /** Number of scores that the answer must have; -1 for any plain data. */
    scores: number;
    /** Bounds of the answer. */
    limits: CodecLimits;
    timeoutMs: number;
  };

/** Guard to host. */
export type GuardMessage =
  | { type: "ready" }
  | { type: "parsed"; requests: ImportRequest[]; error: string | null }
  | {
    type: "linked";
    names: string[];
    error: string | null;
    printed: string[];
    refused: string[];
  }
  | {
    type: "result";
    id: number;
    value: unknown;
    error: string | null;
    printed: string[];
    refused: string[];
  }
  | {
    type: "fatal";
    reason: "timeout" | "processor" | "memory" | "busy" | "crash";
    detail: string;
    printed: string[];
    refused: string[];
  };

/** Guard to realm. */
export type RealmOrder =
  | { type: "parse"; modules: ModuleSource[] }
  | { type: "link"; entry: string; resolutions: Resolutions; reads: true | string[] }
  | { type: "call"; id: number; name: string; args: Uint8Array };

/** Realm to guard. */
export type RealmReport =
  | { type: "parsed"; requests: ImportRequest[]; error: string | null }
  | { type: "linked"; names: string[]; error: string | null }
  | { type: "result"; id: number; value?: unknown; error: string | null }
  | { type: "printed"; line: string }
  | { type: "refused"; line: string };
