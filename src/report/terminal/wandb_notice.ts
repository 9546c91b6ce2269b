/**
 * The notice for a config that asks for Weights & Biases, which has no JavaScript client: the numbers
 * are kept, and Python uploads them. (`wandb sync` accepts wandb's own runs alone:
 * wandb 0.31 no longer reads TensorBoard's event files.)
 *
 * @param metricsPath the run's metrics.jsonl
 * @param project logging.wandb_project; null if it is not set
 * @param entity logging.wandb_entity; null if it is not set
 */
export function wandbNotice(
  metricsPath: string,
  project: string | null,
  entity: string | null = null,
): string {
  const names = Object.entries({ project, entity }).filter(([, value]) => value !== null)
    .map(([name, value]) => `${name}=${JSON.stringify(value)}`).join(", ");
  const script = `import json, wandb; run = wandb.init(${names}); ` +
    `[run.log(row, step=row["step"]) for row in map(json.loads, open(${
      JSON.stringify(metricsPath)
    }))]; run.finish()`;
  return `logging.report_to wandb: Weights & Biases has no JavaScript client, so nothing is sent ` +
    `to it while the run goes on; every number is in ${metricsPath}, and Python's wandb uploads ` +
    `it afterwards:\npython -c '${script.replaceAll("'", `'"'"'`)}'`;
}
