// Images: made from words, changed from others, through OpenAI's API or Stable Diffusion's.
import { each, h } from '../core/dom.js';
import { num } from '../core/format.js';
import { signal } from '../core/signal.js';
import { openDialog } from '../ui/dialog.js';
import { button, field, linkButton, segmented } from '../ui/parts.js';
import { amount, choice, entry, listButton, tool, words } from './tool.js';

const MOST = 24;       // pictures kept; older ones go
const SIZES = ['1024x1024', '512x512', '768x768', '768x512', '512x768', '1536x1024', '1024x1536'];
const MODES = [['generations', 'Generate'], ['edits', 'Edit'], ['sdapi', 'SD API']];

export function panel(ctx) {
	const mode = signal('generations');
	const pictures = signal([]);       // [{src, type, seed, prompt}]
	const loras = signal([]);          // [{name, path, weight: its input}]
	const source = h('input', { type: 'file', accept: 'image/*', multiple: true, required: true });
	const take = (found) => loras.set(found.map((one) => ({ ...one,
		weight: h('input', { type: 'number', step: 'any', placeholder: 'not used' }) })));

	async function ask({ n = 1, size, ...values }, { send }) {
		const [width, height] = size.split('x').map(Number);
		const files = [...source.files];
		const lora = loras.peek().filter(({ weight }) => weight.value)
			.map(({ path, weight }) => ({ path, multiplier: weight.valueAsNumber }));
		const requests = { generations: ['v1/images/generations', { ...values, n, size }],
			edits: ['v1/images/edits', { ...values, n, size, [files[1] ? 'image[]' : 'image']: files }],
			sdapi: ['sdapi/v1/txt2img', { ...values, width, height, batch_size: n, ...(lora.length && { lora }) }] };
		const made = picturesIn(await send(...requests[mode.peek()]), values.prompt);
		pictures.update((all) => [...made, ...all].slice(0, MOST));
	}
	const reuse = ({ prompt, seed }) => {
		const fill = (name, value) => { view.querySelector(`[name=${name}]`).value = value; };
		fill('prompt', prompt);
		if (seed === null) return;
		mode.set('sdapi');
		fill('seed', seed);
	};
	const only = (name, ...children) => h('div', { class: 'stack', hidden: () => mode() !== name }, children);
	const view = tool(ctx, { name: 'images', suits: (has) => has.out?.includes('image'), verb: 'Make',
		settings: [segmented('What to do', MODES, { value: mode, onchange: mode.set }),
			choice('Size', 'size', SIZES.map((size) => [size, size])),
			amount('How many', 'n', { min: 1, max: 8, step: 1, placeholder: '1' }),
			only('edits', field('Pictures to edit', source)),
			only('sdapi', words('Without', 'negative_prompt', 2), h('div', { class: 'params' }, amount('Steps', 'steps'),
				amount('CFG scale', 'cfg_scale'), amount('Seed', 'seed', { min: -1 })),
			entry('Sampler', 'sampler_name', { placeholder: 'such as Euler a' }),
			listButton(ctx, 'images', 'List the LoRAs', 'sdapi/v1/loras', take),
			() => loras().map((one) => field(`Weight of ${one.name}`, one.weight)))],
		ask, form: words('Prompt', 'prompt', 3, { required: true }),
		after: each(h('div', { class: 'gallery' }), pictures, (one) => one, (one) => picture(one.peek(), reuse)) });
	return view;
}

/** Every picture of an answer; one that lies on another server stays there. */
function picturesIn({ images, data, info }, prompt) {
	const { seed = null, all_seeds: seeds } = JSON.parse(info || '{}');
	return (images || data.map((one) => one.b64_json || one.url)).map((text, at) => {
		const type = text.startsWith('/9j') ? 'jpeg' : text.startsWith('UklG') ? 'webp' : 'png';
		return { prompt, seed: seeds?.[at] ?? seed, type,
			src: /^(data|https?):/i.test(text) ? text : `data:image/${type};base64,${text}` };
	});
}

function picture({ src, type, seed, prompt }, reuse) {
	const slim = { kind: 'quiet', class: 'slim' };
	const image = () => h('img', { src, alt: prompt, class: 'whole' });
	return h('figure', { class: 'card' },
		src.startsWith('data:') ? h('button', { type: 'button', class: 'show', 'aria-label': 'Show in full',
			onclick: () => openDialog({ title: prompt, wide: true, body: image() }) }, image())
			: h('a', { href: src, rel: 'noopener noreferrer', target: '_blank' }, `On another server: ${src}`),
		h('figcaption', { class: 'small' }, h('p', { class: 'clip', title: prompt }, prompt),
			h('p', { class: 'muted' }, `Seed ${num(seed)}`),
			h('div', { class: 'row' }, linkButton('Download', src, { ...slim, download: `image.${type}` }),
				button('Reuse', { ...slim, onclick: () => reuse({ prompt, seed }) }))));
}
