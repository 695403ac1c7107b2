// Transcribe: speech to text, from a file or the microphone.
import { h } from '../core/dom.js';
import { bytes, clock } from '../core/format.js';
import { download } from '../core/clipboard.js';
import { onCleanup, signal } from '../core/signal.js';
import { button, copyButton, emptyState, field, inlineError, switchBox } from '../ui/parts.js';
import { postRaw } from './api.js';
import { chosenModel, modelPicker } from './picker.js';
import { side } from './side.js';

export function panel(ctx) {
  const [model, choose] = chosenModel('transcribe');
  const file = signal(null);
  const result = signal(null);       // {text, segments} | Error
  const isBusy = signal(false);
  const isOver = signal(false);
  const withTimes = signal(true);
  const [language, prompt] = [h('input', { type: 'text', placeholder: 'let the model find out', autocomplete: 'off' }),
    h('textarea', { rows: '2' })];
  const chooser = h('input', { type: 'file', accept: 'audio/*,video/*',
    onchange: () => file.set(chooser.files[0] || null) });
  const run = async () => {
    if (!file.peek() || isBusy.peek()) return;
    isBusy.set(true);
    try {
      const body = new FormData();
      body.append('model', model.peek());        // first: what reads the form only in part still finds it
      for (const [name, value] of [['language', language.value.trim()],
        ['prompt', prompt.value.trim()]]) if (value) body.append(name, value);
      body.append('response_format', withTimes.peek() ? 'verbose_json' : 'json');
      body.append('file', file.peek(), file.peek().name || 'recording.wav');
      const reply = await postRaw('v1/audio/transcriptions', body, { signal: ctx.signal });
      const said = await reply.text();
      result.set((reply.headers.get('content-type') || '').includes('json') ? JSON.parse(said) : { text: said });
    } catch (error) {
      if (error.name !== 'AbortError') result.set(error);
    }
    isBusy.set(false);
  };
  return h('div', { class: 'play' }, side(() => `${model() || 'No model'}: settings`,
    modelPicker({ value: model, onchange: choose, suits: (has) => (has.in || []).includes('audio') }),
    field('Language', language, { hint: 'Such as en or de' }), field('Words to expect', prompt),
      switchBox('Times', withTimes)),
  h('div', { class: 'play-main', ondragover: (event) => { event.preventDefault(); isOver.set(true); },
    ondragleave: () => isOver.set(false),
    ondrop: (event) => { event.preventDefault(); isOver.set(false); file.set(event.dataTransfer.files[0] || null); } },
    h('div', { class: () => `composer${isOver() ? ' over' : ''}` },
      field('Sound file', chooser, { hint: 'Or drop one here.' }), microphone(file.set),
      () => file() && h('p', null, `${file().name || 'Recording'}, ${bytes(file().size)}`)),
    h('div', { class: 'row' }, button(() => (isBusy() ? 'Working' : 'Transcribe'),
      { kind: 'primary', disabled: () => isBusy() || !file(), onclick: run })),
    () => (result() instanceof Error ? inlineError(result(), run) : result() ? shown(result())
      : emptyState({ title: 'Nothing transcribed yet' }))));
}

function microphone(onFile) {
  if (!globalThis.isSecureContext || !navigator.mediaDevices) {
    return h('p', { class: 'muted small' },
      'The microphone is not available here: browsers allow it on https and on the machine itself. A file works.');
  }
  const recorder = signal(null);
  const trouble = signal('');
  const end = () => recorder.peek() && recorder.peek().stop();
  onCleanup(end);
  const start = async () => {
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
      const made = new MediaRecorder(stream);
      const parts = [];
      made.ondataavailable = (event) => parts.push(event.data);
      made.onstop = async () => {
        stream.getTracks().forEach((track) => track.stop());
        recorder.set(null);
        onFile(await asWav(new Blob(parts)));
      };
      made.start();
      recorder.set(made);
      trouble.set('');
    } catch (error) {
      trouble.set(`No recording: ${error.message}`);
    }
  };
  return h('div', { class: 'row' }, button(() => (recorder() ? 'Stop recording' : 'Record'),
    { icon: 'sound', onclick: () => (recorder.peek() ? end() : start()) }),
    h('span', { class: 'error-text', role: 'alert' }, trouble));
}

// Engines read WAV; what browsers record they often do not.
async function asWav(blob) {
  const rate = 16000;
  const data = await new OfflineAudioContext(1, 1, rate).decodeAudioData(await blob.arrayBuffer());
  const samples = data.getChannelData(0);
  const view = new DataView(new ArrayBuffer(44 + samples.length * 2));
  const text = (at, word) => [...word].forEach((char, i) => view.setUint8(at + i, char.charCodeAt(0)));
  text(0, 'RIFF'); view.setUint32(4, 36 + samples.length * 2, true); text(8, 'WAVEfmt '); view.setUint32(16, 16,
    true); view.setUint16(20, 1, true);
  view.setUint16(22, 1, true); view.setUint32(24, rate, true); view.setUint32(28, rate * 2, true); view.setUint16(32, 2,
    true); view.setUint16(34, 16, true);
  text(36, 'data'); view.setUint32(40, samples.length * 2, true);
  samples.forEach((value, i) => view.setInt16(44 + i * 2, Math.max(-1, Math.min(1, value)) * 32767, true));
  return new File([view.buffer], 'recording.wav', { type: 'audio/wav' });
}

const stamp = (seconds) => {
  const ms = Math.round(seconds * 1000);
  const two = (value, size = 2) => String(value).padStart(size, '0');
  const parts = [Math.floor(ms / 3600000), Math.floor(ms / 60000) % 60, Math.floor(ms / 1000) % 60];
  return `${parts.map((part) => two(part)).join(':')},${two(ms % 1000, 3)}`;
};
export const asSrt = (segments) => segments.map((each,
  at) => `${at + 1}\n${stamp(each.start)} --> ${stamp(each.end)}\n${each.text.trim()}\n`).join('\n');

function shown({ text = '', segments = [], language, duration }) {
  return h('div', { class: 'card stack tight' }, h('div', { class: 'row' }, copyButton(text, 'Copy text'),
    button('Download text', { icon: 'download', kind: 'quiet', onclick: () => download('transcript.txt', [text]) }),
    segments.length > 0 && button('Download SRT', { icon: 'download', kind: 'quiet',
      onclick: () => download('transcript.srt', [asSrt(segments)]) }),
    h('span', { class: 'muted small' }, [language, typeof duration === 'number' ? clock(duration * 1000)
      : ''].filter(Boolean).join(', '))),
  segments.length ? h('ol', { class: 'plain-list' }, segments.map((each) => h('li', { class: 'row' },
    h('span', { class: 'num muted' }, clock(each.start * 1000)), h('span', { class: 'grow' }, each.text))))
    : h('p', { class: 'said' }, text));
}
