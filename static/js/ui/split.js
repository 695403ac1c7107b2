// Two parts with a bar between them that pointer and arrow keys move; its place is remembered by name.
import { h } from '../core/dom.js';
import { setting } from '../core/persist.js';

const STEP = 5;

/** min: the least percentage of either part. vertical: the parts are above each other. Double click resets. */
export function split(name, [first, second], { label = 'Size of the parts', vertical = false, min = 15 } = {}) {
  const at = setting(`split.${name}`, 50, (value) => value >= 0 && value <= 100);
  const set = (value) => at.set(Math.round(Math.min(100 - min, Math.max(min, value))));
  const [less, more] = vertical ? ['ArrowUp', 'ArrowDown'] : ['ArrowLeft', 'ArrowRight'];
  const bar = h('div', { role: 'separator', tabindex: '0', 'aria-label': label, 'aria-orientation': vertical
    ? 'horizontal' : 'vertical',
    'aria-valuemin': String(min), 'aria-valuemax': String(100 - min), 'aria-valuenow': () => String(at()),
    onkeydown: (event) => {
      const to = { [less]: at.peek() - STEP, [more]: at.peek() + STEP, Home: min, End: 100 - min }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      set(to);
    },
    ondblclick: () => set(50),
    onpointerdown: (event) => bar.setPointerCapture(event.pointerId),
    onpointermove: (event) => {
      if (!bar.hasPointerCapture(event.pointerId)) return;
      const box = element.getBoundingClientRect();
      set(vertical ? ((event.clientY - box.top) / box.height) * 100 : ((event.clientX - box.left) / box.width) * 100);
    } });
  const element = h('div', { class: `split ${vertical ? 'vertical' : ''}`, css: { '--at': () => `${at()}%` } },
    h('div', { class: 'side' }, first), bar, h('div', { class: 'side' }, second));
  return element;
}
