// Images: made from words, changed from others, through OpenAI's API or Stable Diffusion's.
import { each, h } from '../core/dom.js';
import { duration, num } from '../core/format.js';
import { api } from '../core/net.js';
import { onCleanup, signal } from '../core/signal.js';
import { newId } from '../state/chats.js';
import { openDialog } from '../ui/dialog.js';
import { button, emptyState, field, inlineError, linkButton, segmented, select } from '../ui/parts.js';
import { post } from './api.js';
import { chosenModel, modelPicker } from './picker.js';
import { side } from './side.js';

const MOST = 24;       // pictures kept; older ones go, and their memory with them
const SIZES = ['512x512', '768x768', '1024x1024', '768x512', '512x768', '1024x768', '768x1024', '1536x1024',
  '1024x1536'];
const SAMPLERS = ['Euler a', 'Euler', 'Heun', 'DPM2', 'DPM++ 2S a', 'DPM++ 2M', 'DPM++ 2M Karras', 'LCM', 'DDIM'];
const MODES = [['openai', 'Generate'], ['edit', 'Edit'], ['sdapi', 'SD API']];

export function panel(ctx) {
  const [model, choose] = chosenModel('images');
  const mode = signal('openai');
  const size = signal('1024x1024');
  const pictures = signal([]);       // {id, url, type, seed, prompt, ms}
  const error = signal(null);
  const isBusy = signal(false);
  const loras = signal([]);
  const sampler = signal('');
  const number = (label, name) => [name, h('input', { type: 'text', inputmode: 'numeric',
    placeholder: 'server default' }), label];
  const numbers = [number('Steps', 'steps'), number('CFG scale', 'cfg_scale'), number('Seed', 'seed')];
  const [prompt, negative, count] = [h('textarea', { rows: '3' }), h('textarea', { rows: '2' }),
    h('input', { type: 'number', min: '1', max: '8', value: '1' })];
  const source = h('input', { type: 'file', accept: 'image/png,image/jpeg,image/webp', multiple: true });
  const keep = (made) => {
    const all = [...made, ...pictures.peek()];
    all.slice(MOST).forEach((one) => URL.revokeObjectURL(one.url));
    pictures.set(all.slice(0, MOST));
  };
  onCleanup(() => pictures.peek().forEach((one) => URL.revokeObjectURL(one.url)));

  const ask = { openai: (base) => post('v1/images/generations',
    { ...base, n: Number(count.value) || 1, size: size.peek() }, { signal: ctx.signal }),
    edit: (base) => {
      const form = new FormData();
      for (const [name, value] of Object.entries({ ...base, n: count.value || '1',
        size: size.peek() })) form.append(name, value);
      for (const file of source.files) form.append(source.files.length > 1 ? 'image[]' : 'image', file);
      return post('v1/images/edits', form, { signal: ctx.signal });
    },
    sdapi: (base) => {
      const [width, height] = size.peek().split('x').map(Number);
      const set = numbers.filter(([, input]) => input.value.trim() !== ''
        && Number.isFinite(Number(input.value))).map(([name, input]) => [name, Number(input.value)]);
      const chosen = loras.peek().filter((one) => one.weight.peek()).map((one) => ({ path: one.path,
        multiplier: Number(one.weight.peek()) }));
      return post('sdapi/v1/txt2img', { ...base, width, height, batch_size: Number(count.value) || 1,
        ...Object.fromEntries(set), ...(negative.value.trim() ? { negative_prompt: negative.value.trim() } : {}),
        ...(sampler.peek() ? { sampler_name: sampler.peek() } : {}), ...(chosen.length ? { lora: chosen } : {}) },
          { signal: ctx.signal });
    } };
  const run = async () => {
    const words = prompt.value.trim();
    if (!words || isBusy.peek()) return;
    if (mode.peek() === 'edit' && !source.files.length) { error.set(new Error('Choose the picture to edit.')); return; }
    isBusy.set(true);
    error.set(null);
    const start = performance.now();
    try {
      const found = await ask[mode.peek()]({ model: model.peek(), prompt: words });
      keep(read(found).map((one) => ({ ...one, id: newId(), prompt: words, ms: performance.now() - start })));
    } catch (failure) {
      if (failure.name !== 'AbortError') error.set(failure);
    }
    isBusy.set(false);
  };
  const listLoras = () => api('sdapi/v1/loras', { query: { model: model.peek() }, signal: ctx.signal })
    .then((found) => loras.set(found.map((one) => ({ ...one, weight: signal('') }))), (failure) => error.set(failure));
  const reuse = (one) => {
    prompt.value = one.prompt;
    if (one.seed !== null) { mode.set('sdapi'); numbers[2][1].value = String(one.seed); }
    prompt.focus();
  };
  const only = (...names) => ({ hidden: () => !names.includes(mode()) });
  return h('div', { class: 'play' }, side(() => `${model() || 'No model'}: settings`,
    modelPicker({ value: model, onchange: choose, suits: (has) => (has.out || []).includes('image') }),
    segmented('What to do', MODES, { value: mode, onchange: mode.set }),
      field('Size', select(SIZES.map((one) => [one, one.replace('x', ' \u00d7 ')]),
      { value: size, onchange: size.set })), field('How many', count),
    h('div', { class: 'stack tight', ...only('edit') }, field('Pictures to edit', source)),
    h('div', { class: 'stack tight', ...only('sdapi') }, field('Without', negative),
      h('div', { class: 'params' }, numbers.map(([, input, label]) => field(label, input))),
      field('Sampler', select([['', 'server default'], ...SAMPLERS.map((one) => [one, one])],
        { value: sampler, onchange: sampler.set })), button('List the LoRAs', { class: 'slim', onclick: listLoras }),
      () => loras().map((one) => { const input = h('input',
        { type: 'text', inputmode: 'decimal', placeholder: 'not used',
        onchange: () => one.weight.set(input.value.trim()) }); return field(`Weight of ${one.name}`, input); }))),
  h('div', { class: 'play-main' }, field('Prompt', prompt),
    h('div', { class: 'row' }, button(() => (isBusy() ? 'Working' : mode() === 'edit' ? 'Edit' : 'Generate'),
    { kind: 'primary', disabled: isBusy, onclick: run })),
    () => error() && inlineError(error(), run), () => !pictures().length
      && emptyState({ icon: 'image', title: 'No pictures yet' }),
    each(h('div', { class: 'gallery' }), pictures, (one) => one.id, (one) => picture(one.peek(), reuse))));
}

/** Every picture of an answer; one that lies on another server stays there. */
function read(found) {
  const list = found.images || (found.data || []).map((one) => one.b64_json || one.url);
  let info = {};
  try {
    info = typeof found.info === 'string' ? JSON.parse(found.info) : found.info || {};
  } catch { /* then there is no seed to show */ }
  return list.map((text, at) => {
    const seed = info.all_seeds?.[at] ?? info.seed ?? null;
    if (/^https?:/i.test(text)) return { url: '', remote: text, seed };
    const raw = Uint8Array.from(atob(text.replace(/^data:[^,]*,/, '')), (char) => char.charCodeAt(0));
    const type = raw[0] === 0xff ? 'jpeg' : raw[0] === 0x52 ? 'webp' : 'png';
    return { url: URL.createObjectURL(new Blob([raw], { type: `image/${type}` })), type, seed };
  });
}

function picture(one, reuse) {
  const view = () => openDialog({ title: one.prompt, wide: true,
    body: h('img', { src: one.url, alt: one.prompt, class: 'whole' }) });
  return h('figure', { class: 'card' }, one.url ? h('button',
    { type: 'button', class: 'show', 'aria-label': 'Show in full', onclick: view },
    h('img', { src: one.url, alt: one.prompt }))
    : h('p', null, 'On another server: ', h('a', { href: one.remote, rel: 'noopener noreferrer', target: '_blank' },
      one.remote)),
  h('figcaption', { class: 'small' }, h('p', { class: 'clip', title: one.prompt }, one.prompt),
    h('p', { class: 'muted' }, `${one.seed === null ? 'Seed unknown' : `Seed ${num(one.seed)}`}, ${duration(one.ms)}`),
    h('div', { class: 'row' }, one.url && linkButton('Download', one.url,
      { kind: 'quiet', class: 'slim', download: `image.${one.type}` }),
      button('Reuse', { kind: 'quiet', class: 'slim', onclick: () => reuse(one) }))));
}
