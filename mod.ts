/**
 * Train nanoVLM, a small vision-language model, with SFT, DPO and GRPO on Deno's WebGPU.
 *
 * @module
 */
export { defaultVLMConfig, type VLMConfig } from "./src/vlm_config.ts";
export { loadConfig, type LoadConfigOptions, parseConfig } from "./src/config/load_config.ts";
export { ConfigError, type ConfigProblem } from "./src/config/config_error.ts";
export type * from "./src/config/types/config_types.ts";
export { stringifyConfig } from "./src/config/stringify_config.ts";
export * from "./src/rewards/mod.ts";
export {
  type ActiveBackend,
  activeBackend,
  type BackendChoice,
  initBackend,
  type InitBackendOptions,
} from "./src/device/backend.ts";
import { activeBackend } from "./src/device/backend.ts";
export { VisionLanguageModel } from "./src/generate/vision_language_model.ts";
export type { ForwardOutput, PassOptions, VLM } from "./src/model/vlm.ts";
export type { HostWeights, PackedHostWeights } from "./src/model/packed_weights.ts";
export type { AdaptableModel } from "./src/model/adaptable_model.ts";
export { type PackedFormat, PackedWeight, type Weight } from "./src/ops/half/packed_weight.ts";
export type { Ids, ImageTiles, ModelInputs } from "./src/model/batch.ts";
export type { InitializeOptions } from "./src/model/initialize.ts";
export type { OpenPretrainedOptions } from "./src/model/files/pretrained_folder.ts";
export { defaultLoraConfig, type LoraConfig } from "./src/model/files/adapter_files.ts";
export type {
  GenerateInputs,
  ModelGenerateOptions,
  UserPrompt,
} from "./src/generate/generate_with_model.ts";
export type { TextGeneration, TextOptions } from "./src/generate/generate_text.ts";
export { type ChatMessage, Tokenizer } from "./src/text/tokenizer.ts";
export {
  ImageProcessor,
  type ImageProcessorOptions,
  type ProcessedImage,
} from "./src/image/image_processor.ts";
export {
  type AnyDataset,
  datasetFromRows,
  type ExampleOptions,
  loadDataset,
  type LoadDatasetOptions,
} from "./src/data/load_dataset.ts";
export type { Dataset } from "./src/data/dataset.ts";
export type { StreamingDataset } from "./src/data/streaming_dataset.ts";
export type {
  DatasetFormat,
  ExampleOf,
  GrpoExample,
  PreferenceExample,
  VqaExample,
} from "./src/data/rows/formats.ts";
export { DataError } from "./src/data/data_error.ts";
export type { EncodedImage } from "./src/data/rows/image_cell.ts";
export {
  embeddedShapes,
  type EmbeddedShapesOptions,
  type ShapePicture,
  shapesGrpoRows,
  shapesPreferenceRows,
  shapesVqaRows,
} from "./src/data/embedded/embedded_shapes.ts";
export { embeddedTokenizerFiles } from "./src/text/embedded_tokenizer.ts";
export type { Row } from "./src/data/rows/row.ts";
export type { ProgressState, TrainerCallback, TrainResult } from "./src/train/loop/trainer.ts";
export type { MetricsRecord } from "./src/report/files/metrics_record.ts";
export {
  type LibraryDataOptions,
  type LibraryRunOptions,
  LibraryTrainer,
  type LibraryTrainOptions,
} from "./src/train/run/library_trainer.ts";
export type { LoadedModel } from "./src/generate/load_model.ts";
export {
  type AnsweredQuestion,
  evaluateVqa,
  type EvaluateVqaOptions,
  type VqaScores,
} from "./src/evaluate/evaluate_vqa.ts";
export {
  METRIC_NAMES,
  type MetricName,
  scoreAnswer,
  type ScoreOptions,
} from "./src/evaluate/metrics/score_answer.ts";
export type {
  GroupedScore,
  MetricRequest,
  MetricScore,
} from "./src/evaluate/metrics/metric_tally.ts";
export {
  evaluatePreference,
  type EvaluatePreferenceOptions,
  type PreferenceScores,
  type ScoredPair,
} from "./src/evaluate/evaluate_preference.ts";
export { starterModel, type StarterOptions } from "./src/train/sft/starter.ts";
export { addLora } from "./src/train/run/add_lora.ts";
export { SFTTrainer, type SFTTrainerOptions } from "./src/train/sft/trainer.ts";
export { GKDTrainer, type GKDTrainerOptions } from "./src/train/gkd/trainer.ts";
export { KTOTrainer, type KTOTrainerOptions } from "./src/train/kto/trainer.ts";
export { DPOTrainer, type DPOTrainerOptions } from "./src/train/dpo/trainer.ts";
export { GRPOTrainer, type GRPOTrainerOptions } from "./src/train/grpo/trainer.ts";

if (import.meta.main) {
  const { main } = await import("./tasks/main.ts");
  const code = await main(Deno.args);
  // A GPU that is still at work while the process ends may take it down with it.
  if (activeBackend()?.device) activeBackend()!.dispose();
  Deno.exit(code);
}
