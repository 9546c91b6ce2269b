/**
 * Trackio's database of a project: the tables of metrics and configs, which Trackio completes when it
 * opens the file.
 *
 * Source: `init_db` and `bulk_log` of trackio 0.43's `sqlite_storage.py`.
 *
 * @module
 */
import { DatabaseSync } from "node:sqlite";
import type { TrackioEntry, TrackioStore } from "./trackio_store.ts";

const TABLES = `
CREATE TABLE IF NOT EXISTS metrics (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  run_id TEXT NOT NULL,
  timestamp TEXT NOT NULL,
  run_name TEXT NOT NULL,
  step INTEGER NOT NULL,
  metrics TEXT NOT NULL,
  log_id TEXT,
  space_id TEXT
);
CREATE UNIQUE INDEX IF NOT EXISTS idx_metrics_log_id ON metrics(log_id) WHERE log_id IS NOT NULL;
CREATE TABLE IF NOT EXISTS configs (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  run_id TEXT NOT NULL,
  run_name TEXT NOT NULL,
  config TEXT NOT NULL,
  created_at TEXT NOT NULL,
  UNIQUE(run_id)
);
`;
/** How long to wait for another process that writes. */
const BUSY_MS = 5000;

/** A project's file name: letters, digits, `-` and `_` of its name. */
function fileName(project: string): string {
  return `${project.replace(/[^\p{L}\p{N}_-]/gu, "") || "default"}.db`;
}

/** The database of a project in Trackio's folder. */
export class TrackioDatabase implements TrackioStore {
  readonly #database: DatabaseSync;

  /**
   * @param folder `TRACKIO_DIR`; made if it is missing
   * @throws {Error} if the file cannot be opened or is no database
   */
  constructor(folder: string, project: string) {
    Deno.mkdirSync(folder, { recursive: true });
    this.#database = new DatabaseSync(`${folder}/${fileName(project)}`);
    this.#database.exec(`PRAGMA busy_timeout = ${BUSY_MS}; PRAGMA journal_mode = WAL;${TABLES}`);
  }

  remove({ run_id }: Pick<TrackioEntry, "run_id">): void {
    for (const table of ["metrics", "configs"]) {
      this.#database.prepare(`DELETE FROM ${table} WHERE run_id = ?`).run(run_id);
    }
  }

  add(entries: readonly TrackioEntry[]): void {
    const metric = this.#database.prepare(
      "INSERT OR IGNORE INTO metrics (timestamp, run_id, run_name, step, metrics, log_id) " +
        "VALUES (?, ?, ?, ?, ?, ?)",
    );
    const config = this.#database.prepare(
      "INSERT OR REPLACE INTO configs (run_id, run_name, config, created_at) VALUES (?, ?, ?, ?)",
    );
    const now = new Date().toISOString().replace("Z", "+00:00");
    this.#database.exec("BEGIN IMMEDIATE");
    try {
      for (const { run, run_id, metrics, step, log_id, config: settings } of entries) {
        metric.run(now, run_id, run, step, JSON.stringify(metrics), log_id);
        if (settings === null) continue;
        const described = { ...settings, _Username: null, _Created: now, _Group: null };
        config.run(run_id, run, JSON.stringify(described), now);
      }
      this.#database.exec("COMMIT");
    } catch (error) {
      this.#database.exec("ROLLBACK");
      throw error;
    }
  }

  close(): void {
    this.#database.close();
  }
}
