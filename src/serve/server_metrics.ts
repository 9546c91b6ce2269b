/**
 * What `/metrics` tells Prometheus.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { ChatEngine } from "./chat_engine.ts";

/** Seconds, from one token of a tiny model to a long answer of a large one. */
const BUCKETS = [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300];

/** Counts requests, tokens and times. */
export class ServerMetrics {
  readonly #registry = new Registry();
  readonly #requests = new Counter({
    name: "nanovlm_requests_total",
    help: "Requests by path and HTTP status; status 499: the client went away.",
    labelNames: ["path", "status"],
    registers: [this.#registry],
  });
  readonly #promptTokens = new Counter({
    name: "nanovlm_prompt_tokens_total",
    help: "Tokens of the prompts, image tokens included.",
    registers: [this.#registry],
  });
  readonly #completionTokens = new Counter({
    name: "nanovlm_completion_tokens_total",
    help: "Tokens of the answers.",
    registers: [this.#registry],
  });
  readonly #firstToken = new Histogram({
    name: "nanovlm_time_to_first_token_seconds",
    help: "From a request to the first text of its answer.",
    buckets: BUCKETS,
    registers: [this.#registry],
  });
  readonly #duration = new Histogram({
    name: "nanovlm_request_duration_seconds",
    help: "From a request to the end of its answer.",
    buckets: BUCKETS,
    registers: [this.#registry],
  });

  /** @param engine whose queue is shown */
  constructor(engine: ChatEngine) {
    const gauges = [
      ["nanovlm_answers_running", "Answers that are being written.", () => engine.running],
      ["nanovlm_answers_waiting", "Answers that wait for a place.", () => engine.waiting],
      ["process_resident_memory_bytes", "Memory of the process.", () => Deno.memoryUsage().rss],
      [
        "nanovlm_js_heap_bytes",
        "JavaScript's objects, part of the process's memory.",
        () => Deno.memoryUsage().heapUsed,
      ],
      ["nanovlm_tensors", "Tensors: weights and running answers.", () => tf.memory().numTensors],
      ["nanovlm_tensor_bytes", "Memory of the tensors.", () => tf.memory().numBytes],
    ] as const;
    for (const [name, help, value] of gauges) {
      new Gauge({
        name,
        help,
        registers: [this.#registry],
        collect() {
          this.set(value());
        },
      });
    }
  }

  /** A response that was sent. */
  countRequest(path: string, status: number): void {
    this.#requests.inc({ path, status: String(status) });
  }

  /** An answer that ended. */
  countAnswer(numbers: {
    readonly promptTokens: number;
    readonly completionTokens: number;
    readonly firstTokenMs: number | null;
    readonly totalMs: number;
  }): void {
    this.#promptTokens.inc(numbers.promptTokens);
    this.#completionTokens.inc(numbers.completionTokens);
    if (numbers.firstTokenMs !== null) this.#firstToken.observe(numbers.firstTokenMs / 1000);
    this.#duration.observe(numbers.totalMs / 1000);
  }

  /** The text format, version 0.0.4. */
  async response(): Promise<Response> {
    return new Response(await this.#registry.metrics(), {
      headers: { "content-type": this.#registry.contentType },
    });
  }
}
