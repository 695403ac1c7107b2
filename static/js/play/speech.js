// Speech: text read aloud.
import { h } from '../core/dom.js';
import { bytes, duration } from '../core/format.js';
import { api } from '../core/net.js';
import { setting } from '../core/persist.js';
import { effect, onCleanup, signal } from '../core/signal.js';
import { button, emptyState, field, inlineError, linkButton, select, switchBox } from '../ui/parts.js';
import { postRaw } from './api.js';
import { chosenModel, modelPicker } from './picker.js';
import { side } from './side.js';

const FORMATS = [['', 'Server default'], ['mp3', 'MP3'], ['wav', 'WAV'], ['opus', 'Opus'], ['flac', 'FLAC'],
  ['aac', 'AAC']];
const ENDINGS = { 'audio/mpeg': 'mp3', 'audio/mp3': 'mp3', 'audio/wav': 'wav', 'audio/x-wav': 'wav', 'audio/ogg': 'ogg',
  'audio/opus': 'opus', 'audio/flac': 'flac', 'audio/aac': 'aac' };
const plays = setting('play.autoplay', false);

export function panel(ctx) {
  const [model, choose] = chosenModel('speech');
  const result = signal(null);      // {url, size, type, ms} | Error
  const isBusy = signal(false);
  const voices = signal([]);
  const voicesNote = signal('');
  const [format, voice] = [signal(''), h('input', { type: 'text', placeholder: 'server default', list: 'play-voices',
    autocomplete: 'off' })];
  const pace = h('input', { type: 'text', inputmode: 'decimal', placeholder: 'server default' });
  const text = h('textarea', { rows: '5' });
  const drop = () => { const now = result.peek(); if (now && now.url) URL.revokeObjectURL(now.url); };
  onCleanup(drop);
  effect(() => { model(); voices.set([]); voicesNote.set('Asking for the voices may load the model.'); });
  const list = async () => {
    voicesNote.set('Asking');
    try {
      const found = await api('v1/audio/voices', { query: { model: model.peek() }, signal: ctx.signal });
      voices.set(namesIn(found));
      voicesNote.set(`${voices.peek().length} known`);
    } catch (error) {
      voicesNote.set(`The server does not list voices: ${error.message}`);
    }
  };
  const run = async () => {
    if (!text.value.trim() || isBusy.peek()) return;
    isBusy.set(true);
    const start = performance.now();
    try {
      const reply = await postRaw('v1/audio/speech', { model: model.peek(), input: text.value.trim(),
        ...(voice.value ? { voice: voice.value } : {}),
        ...(format.peek() ? { response_format: format.peek() } : {}),
          ...(Number(pace.value) > 0 ? { speed: Number(pace.value) } : {}) }, { signal: ctx.signal });
      const blob = await reply.blob();
      drop();
      result.set({ url: URL.createObjectURL(blob), size: blob.size, type: blob.type.split(';')[0],
        ms: performance.now() - start });
    } catch (error) {
      if (error.name !== 'AbortError') { drop(); result.set(error); }
    }
    isBusy.set(false);
  };
  return h('div', { class: 'play' }, side(() => `${model() || 'No model'}: settings`,
    modelPicker({ value: model, onchange: choose, suits: (has) => (has.out || []).includes('audio') }),
    field('Voice', voice), h('datalist', { id: 'play-voices' },
      () => voices().map((name) => h('option', { value: name }))),
    h('div', { class: 'row' }, button('List the voices', { class: 'slim', onclick: list }),
      h('span', { class: 'muted small', role: 'status' }, voicesNote)),
    field('Format', select(FORMATS, { value: format, onchange: format.set })), field('Speed', pace),
      switchBox('Play at once', plays)),
  h('div', { class: 'play-main' }, field('Text', text), h('div', { class: 'row' },
    button(() => (isBusy() ? 'Working' : 'Speak'), { kind: 'primary', disabled: isBusy, onclick: run })),
    () => (result() instanceof Error ? inlineError(result(), run) : result() ? player(result())
      : emptyState({ icon: 'sound', title: 'Nothing has been said yet' }))));
}

/** Names in whatever form they come: a list or {voices: list} of strings or objects. */
export function namesIn(found) {
  const list = Array.isArray(found) ? found : found?.voices || found?.data || [];
  return (Array.isArray(list) ? list : Object.keys(list)).map((each) => (typeof each === 'string' ? each : each?.id
    || each?.voice_id || each?.name)).filter(Boolean);
}

const player = ({ url, size, type, ms }) => h('div', { class: 'card stack tight' },
  h('audio', { controls: true, src: url, autoplay: plays.peek(), 'aria-label': 'What was said' }),
  h('div', { class: 'row' }, linkButton('Download', url,
    { icon: 'download', download: `speech.${ENDINGS[type] || 'audio'}` }),
    h('span', { class: 'muted small' }, `${type || 'unknown type'}, ${bytes(size)}, after ${duration(ms)}`)));
