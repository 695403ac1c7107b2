// The newest sample of the machine, and rings that hold samples without ever growing.
import { subscribe } from '../core/feed.js';
import { computed, signal } from '../core/signal.js';

const MIB = 1024 * 1024;

/** {at, sys, gpus: []} or null when nothing was measured yet. */
export const perf = signal(null);
/** GPU memory in bytes: {used, total}, null without a GPU or when a card does not say. */
export const vram = computed(() => {
  const gpus = (perf() && perf().gpus) || [];
  if (!gpus.length || gpus.some((gpu) => !(gpu.mem_total_mb > 0))) return null;
  return { used: sum(gpus, (gpu) => gpu.mem_used_mb) * MIB, total: sum(gpus, (gpu) => gpu.mem_total_mb) * MIB };
}, (a, b) => a === b || (a && b && a.used === b.used && a.total === b.total));
/** Power of all cards in watts; null when no card measures it (a card without a sensor reports none or 0). */
export const watts = computed(() => {
  const known = ((perf() && perf().gpus) || []).filter((gpu) => gpu.power_draw_w > 0);
  return known.length ? sum(known, (gpu) => gpu.power_draw_w) : null;
});

export function startPerf() {
  subscribe('perf', (data) => {
    if (data.sys || (data.gpus && data.gpus.length)) perf.set({ at: data.at, sys: data.sys || null, gpus: data.gpus
      || [] });
  });
}

/** The newest `size` rows of numbers in typed arrays; the oldest fall out. Missing numbers are NaN: drawn as gaps. */
export class Ring {
  constructor(size, fields) {
    this.size = size;
    this.at = new Float64Array(size);
    this.values = Object.fromEntries(fields.map((field) => [field, new Float32Array(size).fill(NaN)]));
    this.count = 0;           // of all rows ever pushed
  }

  get length() {
    return Math.min(this.count, this.size);
  }

  push(at, values) {
    const place = this.count++ % this.size;
    this.at[place] = at;
    for (const field in this.values) {
      const value = values[field];
      this.values[field][place] = typeof value === 'number' ? value : NaN;
    }
  }

  /** Oldest first, from the epoch second `from` on: {x: number[], y: number[]}. */
  view(field, from = 0) {
    const x = [];
    const y = [];
    for (let i = this.count - this.length; i < this.count; i++) {
      const place = i % this.size;
      if (this.at[place] < from) continue;
      x.push(this.at[place]);
      y.push(this.values[field][place]);
    }
    return { x, y };
  }
}

const sum = (all, of) => all.reduce((total, each) => total + (of(each) || 0), 0);
