import { subscribe } from '../core/feed.js';
import { computed, signal } from '../core/signal.js';

export const MIB = 1024 * 1024;
const sum = (gpus, field) => gpus.reduce((total, gpu) => total + (gpu[field] || 0), 0);

/** The newest sample {at, sys, gpus: []}, null before one. */
export const perf = signal(null);
const gpus = () => perf()?.gpus || [];
/** In bytes; null without a GPU or when a card does not say. */
export const vram = computed(() => (gpus().length && gpus().every((gpu) => gpu.mem_total_mb > 0)
	? { used: sum(gpus(), 'mem_used_mb') * MIB, total: sum(gpus(), 'mem_total_mb') * MIB } : null));
/** Of all cards; null when none measures it (without a sensor some report 0). */
export const watts = computed(() => sum(gpus(), 'power_draw_w') || null);

export function startPerf() {
	subscribe('perf', ({ at, sys, gpus: found }) => {
		if (sys || found?.length) perf.set({ at, sys, gpus: found || [] });
	});
}
