/**
 * Ops whose kernels are WGSL on the buffers of tfjs's WebGPU backend.
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { HalfFormat } from "../../half/precision.ts";
import { descriptionOf } from "./described_devices.ts";
import { type CountedDispatch, type CountingOptions, DispatchCounts } from "./dispatch_counts.ts";
import { firstOutput, type FusedOp, runOp } from "../../tape/fused_op.ts";
import { recordOutput } from "../../tape/kernel_outputs.ts";
import { type IntegerOwner, nonEmpty } from "./integers.ts";
import { forgetHalfCopy, freeHalfCopies } from "./half_copies.ts";
import {
  canStoreHalf,
  makeStored,
  storedFormat,
  WIDEN_WORKGROUP,
  widenForOthers,
} from "./half_storage.ts";
import { forgetSquares, freeSquares } from "./squares.ts";
import { OperandTextures } from "./operand_textures.ts";
import { grid, parameterWords, type Program, TEXTURE_WIDTH } from "./program.ts";
import type { TfjsWebgpuBackend } from "./tfjs_backend.ts";

export { describeDevice } from "./described_devices.ts";
export type { IntegerOwner };

/** A bound resource: a tensor's buffer, or a texture with its values. */
export type Resource = GPUBuffer | GPUTexture;

/**
 * Dispatches of a submission, or a few more: enough to cost little, few enough to keep the GPU busy.
 * Freed buffers are used again only after it: with 64, a checkpointed step holds a fifth more.
 */
const DISPATCHES_PER_SUBMISSION = 32;

/** If there are more recorded bind groups or uniform buffers, all of them are dropped. */
const MAX_RECORDED = 16384;

const BYTES_PER_TEXTURE_ROW = TEXTURE_WIDTH * 16;

/** A pipeline with its number, which is part of the key of recorded bind groups. */
interface Pipeline {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
  readonly number: number;
}

/** Options of {@linkcode GpuLaunch.dispatch}. */
export interface DispatchOptions {
  /** The parameters differ from step to step, so they are not recorded. */
  readonly changing?: boolean;
  /** Its arithmetic, for the count: a multiplication and an addition are two. Default 0. */
  readonly flops?: number;
  /** The bytes that it moves, for the count. Default: everything bound, once. */
  readonly bytes?: number;
}

/** Records dispatches on one device. */
export class GpuLaunch {
  readonly backend: TfjsWebgpuBackend;
  /**
   * Whether the adapter is software. Textures are then read several times faster than buffers, there
   * are few lanes, and workgroup memory with its barriers is expensive.
   */
  get isFallback(): boolean {
    return this.#isFallback && !this.#counts?.asHardware;
  }
  readonly #isFallback: boolean;
  /** Storage buffers that a shader may bind. */
  readonly bindableBuffers: number;
  readonly #device: GPUDevice;
  readonly #pipelines = new Map<string, Pipeline>();
  readonly #bindGroups = new Map<string, GPUBindGroup>();
  readonly #uniforms = new Map<string, GPUBuffer>();
  readonly #numbers = new WeakMap<Resource, number>();
  readonly #textures: OperandTextures;
  readonly #owned = new WeakMap<IntegerOwner, Map<string, GPUBuffer>>();
  /** Resources that recorded commands may still read; destroyed after the next submission. */
  #retired: Resource[] = [];
  #nextNumber = 0;
  /** Bytes of the operand in a texture. */
  readonly #held = new WeakMap<GPUTexture, number>();
  /** Buffers of sums that the current op adds to. */
  readonly #sums = new WeakSet<GPUBuffer>();
  #counts: DispatchCounts | null = null;

  constructor(backend: TfjsWebgpuBackend, isFallback: boolean, buffers: number) {
    this.backend = backend;
    this.#isFallback = isFallback;
    this.#device = backend.device;
    const { maxStorageBuffersPerShaderStage } = this.#device.limits;
    this.#textures = new OperandTextures(
      backend.device,
      (texture) => void this.#retired.push(texture),
    );
    this.bindableBuffers = Math.min(buffers, maxStorageBuffersPerShaderStage);
    for (const install of [freeHalfCopies, freeSquares]) install(backend);
    widenForOthers(
      backend,
      (program, buffers, count) =>
        this.dispatch(program, buffers, { count }, grid(count, WIDEN_WORKGROUP)),
    );
  }

  /** Whether shaders may use f16. */
  get hasF16(): boolean {
    return this.#device.features.has("shader-f16");
  }

  /** Whether a shader may bind `operands` operands and `buffers` other buffers. */
  canBind({ operands, buffers }: { operands: number; buffers: number }): boolean {
    return this.isFallback
      ? operands <= this.#device.limits.maxStorageTexturesPerShaderStage &&
        buffers <= this.bindableBuffers
      : operands + buffers <= this.bindableBuffers;
  }

  /** The type of an operand that {@linkcode operand} binds. */
  get operandType(): "texture" | "vec4<f32>" {
    return this.isFallback ? "texture" : "vec4<f32>";
  }

  /** A new tensor, its values undefined. */
  output(shape: readonly number[], dtype: "float32" | "int32" = "float32"): tf.TensorInfo {
    const info = this.backend.makeTensorInfo([...shape], dtype);
    recordOutput(info.dataId);
    this.backend.uploadToGPU(info.dataId);
    this.#sums.delete(this.buffer(info));
    return info;
  }

  /**
   * A new float32 tensor for numbers of a 16-bit format, stored in 16 bits each if the shape allows
   * (`half_storage.ts`); its values are undefined.
   */
  halfOutput(shape: readonly number[], half: HalfFormat | null | undefined): tf.TensorInfo {
    if (!half || !canStoreHalf(shape)) return this.output(shape);
    const info = makeStored(this.backend, shape, half);
    recordOutput(info.dataId);
    this.#sums.delete(this.words(info));
    return info;
  }

  /** The sum that a kernel adds to; a new tensor if there is none. */
  target(shape: readonly number[], sum: tf.TensorInfo | undefined): tf.TensorInfo {
    if (sum === undefined) return this.output(shape);
    this.forgetHostCopy(sum);
    this.#sums.add(this.buffer(sum));
    return sum;
  }

  /** Call it if a kernel writes into an existing tensor. */
  forgetHostCopy(tensor: tf.TensorInfo): void {
    forgetHalfCopy(tensor);
    forgetSquares(this.backend, tensor);
    this.backend.uploadToGPU(tensor.dataId);
    this.backend.tensorMap.get(tensor.dataId).values = null;
  }

  /** A tensor of zeros. */
  zeros(shape: readonly number[]): tf.TensorInfo {
    const info = this.output(shape);
    this.#clear(this.buffer(info));
    return info;
  }

  #clear(buffer: GPUBuffer): void {
    if (buffer.size === 0) return;
    this.#counts?.add({ kernel: "clear", bytes: buffer.size, flops: 0 });
    this.#endPass();
    this.backend.commandEncoder.clearBuffer(buffer);
  }

  /** The tensor's buffer. It stays until the commands recorded so far have been submitted. */
  buffer(tensor: tf.TensorInfo): GPUBuffer {
    const { backend } = this;
    backend.uploadToGPU(tensor.dataId);
    backend.commandQueueOwnedIds.add(tensor.dataId);
    const { resource } = backend.tensorMap.get(tensor.dataId);
    if (resource === null) throw new Error(`A tensor [${tensor.shape}] has no buffer`);
    return resource;
  }

  /** The tensor's buffer as it is: 16-bit words if its values are stored so. */
  words(tensor: tf.TensorInfo): GPUBuffer {
    if (storedFormat(tensor) === undefined) return this.buffer(tensor);
    const { backend } = this;
    backend.commandQueueOwnedIds.add(tensor.dataId);
    return backend.tensorMap.get(tensor.dataId).resource!;
  }

  /**
   * The values of a tensor, or of a part of it, as products read them: on a software adapter a copy in
   * the texture of that slot, else the buffer itself. A slot holds one operand at a time.
   *
   * @param tensor of a multiple of 4 values
   * @param slot names the texture
   * @param first value, a multiple of 4; only if `isFallback`
   * @param count of values, a multiple of 4; only if `isFallback`
   */
  operand(tensor: tf.TensorInfo, slot: string, first = 0, count?: number): Resource {
    const buffer = this.buffer(tensor);
    if (!this.isFallback) return buffer;
    const texels = (count ?? tf.util.sizeFromShape(tensor.shape)) / 4;
    const texture = this.#textures.take(slot, Math.max(1, Math.ceil(texels / TEXTURE_WIDTH)));
    this.#held.set(texture, texels * 16);
    this.#counts?.add({ kernel: "copy into a texture", bytes: 2 * texels * 16, flops: 0 });
    this.#endPass();
    const { commandEncoder } = this.backend;
    const rows = Math.floor(texels / TEXTURE_WIDTH);
    const rest = texels % TEXTURE_WIDTH;
    const source = { buffer, bytesPerRow: BYTES_PER_TEXTURE_ROW };
    if (rows > 0) {
      commandEncoder.copyBufferToTexture(
        { ...source, offset: first * 4 },
        { texture },
        [TEXTURE_WIDTH, rows],
      );
    }
    if (rest > 0) {
      commandEncoder.copyBufferToTexture(
        { ...source, offset: first * 4 + rows * BYTES_PER_TEXTURE_ROW },
        { texture, origin: [0, rows] },
        [rest, 1],
      );
    }
    return texture;
  }

  /** Integers on the device for the next recorded commands. */
  integers(values: Int32Array): GPUBuffer {
    const { backend } = this;
    const info = backend.makeTensorInfo([Math.max(1, values.length)], "int32", nonEmpty(values));
    const buffer = this.buffer(info);
    backend.disposeData(info.dataId); // once it has been submitted
    return buffer;
  }

  /** Integers that belong to `owner` and stay until it is disposed. `key` names them. */
  integersOf(owner: IntegerOwner, key: string, values: () => Int32Array): GPUBuffer {
    let buffers = this.#owned.get(owner);
    if (buffers === undefined) this.#owned.set(owner, buffers = new Map());
    let buffer = buffers.get(key);
    if (buffer === undefined) {
      const array = nonEmpty(values());
      const { backend } = this;
      const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST;
      const made = backend.bufferManager.acquireBuffer(array.byteLength, usage);
      // Recorded commands may still read a pooled buffer, so its new values are recorded too.
      const staging = this.integers(array);
      this.#endPass();
      backend.commandEncoder.copyBufferToBuffer(staging, 0, made, 0, array.byteLength);
      owner.onDispose(() => {
        this.#owned.delete(owner);
        backend.uniformPendingDisposal.push(made); // back to the pool after the next submission
      });
      buffers.set(key, buffer = made);
    }
    return buffer;
  }

  /**
   * Records one dispatch. WebGPU cannot bind an empty tensor: a dispatch that reads or writes one does
   * not run; sums stay as they are, other results are zeros.
   *
   * @param program to run
   * @param resources in the order of the program's bindings
   * @param parameters by name; numbers
   * @param groups workgroups along x, y, z
   */
  dispatch(
    program: Program,
    resources: readonly Resource[],
    parameters: Readonly<Record<string, number>>,
    groups: readonly [number, number, number],
    options: DispatchOptions = {},
  ): void {
    const { backend } = this;
    if (resources.some((resource) => this.#heldBytes(resource) === 0)) {
      resources.forEach((resource, i) => {
        const written = program.bindings[i].write && resource instanceof GPUBuffer;
        if (written && !this.#sums.has(resource)) this.#clear(resource);
      });
      return;
    }
    if (this.#counts !== null) {
      const bytes = options.bytes ?? resources.reduce((sum, one) => sum + this.#heldBytes(one), 0);
      this.#counts.add({ kernel: program.name, bytes, flops: options.flops ?? 0 });
      if (this.#counts.asHardware) return;
    }
    const pipeline = this.#pipeline(program);
    const words = parameterWords(program, parameters);
    const bindGroup = options.changing
      ? this.#bind(pipeline, [...resources, this.#temporaryUniform(words)])
      : this.#recordedBindGroup(pipeline, resources, words);
    backend.ensureCommandEncoderReady();
    backend.computePassEncoder ??= backend.commandEncoder.beginComputePass();
    const pass = backend.computePassEncoder;
    pass.setPipeline(pipeline.pipeline);
    pass.setBindGroup(0, bindGroup);
    pass.dispatchWorkgroups(...groups);
    backend.dispatchCountInPass++;
  }

  /**
   * Submits the recorded commands if there are enough. Called after each op and never inside one:
   * temporary buffers of an op (integers, scratch) return to the pool at a submission.
   */
  submitIfDue(): void {
    const { backend } = this;
    if (backend.dispatchCountInPass < DISPATCHES_PER_SUBMISSION) return;
    backend.endComputePassEncoder();
    backend.submitQueue();
    for (const resource of this.#retired) resource.destroy();
    this.#retired = [];
  }

  /** Begins to count dispatches. */
  startCounting(options: CountingOptions = {}): void {
    this.#counts?.end();
    this.#counts = new DispatchCounts(this.backend, options);
  }

  /** Ends counting. @returns the dispatches in their order */
  stopCounting(): readonly CountedDispatch[] {
    const counts = this.#counts;
    counts?.end();
    this.#counts = null;
    return counts?.dispatches ?? [];
  }

  #heldBytes(resource: Resource): number {
    return resource instanceof GPUBuffer ? resource.size : this.#held.get(resource) ?? 0;
  }

  #endPass(): void {
    this.backend.ensureCommandEncoderReady();
    this.backend.endComputePassEncoder();
  }

  #pipeline(program: Program): Pipeline {
    let found = this.#pipelines.get(program.code);
    if (found === undefined) {
      const pipeline = this.#device.createComputePipeline({
        label: program.name,
        layout: "auto",
        compute: {
          module: this.#device.createShaderModule({ label: program.name, code: program.code }),
          entryPoint: "main",
        },
      });
      const number = this.#nextNumber++;
      found = { pipeline, layout: pipeline.getBindGroupLayout(0), number };
      this.#pipelines.set(program.code, found);
    }
    return found;
  }

  #number(resource: Resource): number {
    let number = this.#numbers.get(resource);
    if (number === undefined) this.#numbers.set(resource, number = this.#nextNumber++);
    return number;
  }

  #recordedBindGroup(
    pipeline: Pipeline,
    resources: readonly Resource[],
    words: Uint32Array<ArrayBuffer>,
  ): GPUBindGroup {
    const values = words.join();
    const numbers = resources.map((resource) => this.#number(resource));
    const key = `${pipeline.number}:${numbers.join()}:${values}`;
    let group = this.#bindGroups.get(key);
    if (group === undefined) {
      if (this.#bindGroups.size >= MAX_RECORDED) this.#forget();
      group = this.#bind(pipeline, [...resources, this.#uniform(values, words)]);
      this.#bindGroups.set(key, group);
    }
    return group;
  }

  /**
   * Drops recorded bind groups and their uniform buffers. The buffers, some dozen bytes each, are left
   * to the garbage collector: each destroyed one leaked a kilobyte on the host (Deno 2.9.6), which
   * added up if each batch had another shape.
   */
  #forget(): void {
    this.#bindGroups.clear();
    this.#uniforms.clear();
  }

  #bind(pipeline: Pipeline, resources: readonly Resource[]): GPUBindGroup {
    return this.#device.createBindGroup({
      layout: pipeline.layout,
      entries: resources.map((resource, binding) => ({
        binding,
        resource: resource instanceof GPUBuffer ? { buffer: resource } : resource.createView(),
      })),
    });
  }

  #uniform(key: string, words: Uint32Array<ArrayBuffer>): GPUBuffer {
    let buffer = this.#uniforms.get(key);
    if (buffer === undefined) {
      buffer = this.#device.createBuffer({
        size: words.byteLength,
        usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
      });
      this.#device.queue.writeBuffer(buffer, 0, words);
      this.#uniforms.set(key, buffer);
    }
    return buffer;
  }

  #temporaryUniform(words: Uint32Array<ArrayBuffer>): GPUBuffer {
    const { backend } = this;
    const usage = GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST;
    const buffer = backend.bufferManager.acquireBuffer(words.byteLength, usage);
    this.#device.queue.writeBuffer(buffer, 0, words);
    backend.uniformPendingDisposal.push(buffer);
    return buffer;
  }
}

const launches = new WeakMap<TfjsWebgpuBackend, GpuLaunch>();

/** The launch of tfjs's current backend, which must be webgpu. */
export function currentLaunch(): GpuLaunch {
  const backend = tf.backend() as unknown as TfjsWebgpuBackend;
  let found = launches.get(backend);
  if (found === undefined) {
    found = new GpuLaunch(backend, ...descriptionOf(backend.device));
    launches.set(backend, found);
  }
  return found;
}

/** Runs an op and returns its first output; the others are kept only if they are saved. */
export function launch<T extends tf.Tensor>(op: FusedOp<GpuLaunch>): T {
  return firstOutput(launchAll(op));
}

/** Runs an op and returns all its outputs. */
export function launchAll(op: FusedOp<GpuLaunch>): tf.Tensor[] {
  const outputs = runOp(op, "webgpu", currentLaunch);
  currentLaunch().submitIfDue();
  return outputs;
}
