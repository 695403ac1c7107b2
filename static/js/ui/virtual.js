// A long list of which only the visible rows exist. All rows are equally high; elements are used again for other rows.
import { h } from '../core/dom.js';
import { effect, onCleanup } from '../core/signal.js';

const OVERSCAN = 8;

/** count: () => number; create: () => element; fill(element, index) must set all of it. refresh() draws again. */
export function virtualList({ count, rowHeight, create, fill, label }) {
  const spacer = h('div');
  const box = h('div', { class: 'vlist', tabindex: '0', role: 'list', 'aria-label': label, onscroll: () => later() },
    spacer);
  const pool = [];
  let asked = false;
  const later = () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(draw);
  };
  const draw = () => {
    asked = false;
    const all = count();
    const first = Math.max(0, Math.floor(box.scrollTop / rowHeight) - OVERSCAN);
    const last = Math.min(all, Math.ceil((box.scrollTop + box.clientHeight) / rowHeight) + OVERSCAN);
    spacer.style.height = `${all * rowHeight}px`;
    while (pool.length < last - first) spacer.append(pool[pool.push(create()) - 1]);
    pool.forEach((element, i) => {
      const index = first + i;
      element.hidden = index >= last;
      if (element.hidden) return;
      element.style.transform = `translateY(${index * rowHeight}px)`;
      element.setAttribute('role', 'listitem');
      element.setAttribute('aria-setsize', String(all));
      element.setAttribute('aria-posinset', String(index + 1));
      fill(element, index);
    });
  };
  const observer = new ResizeObserver(later);
  observer.observe(box);
  onCleanup(() => observer.disconnect());
  effect(() => {
    count();
    later();
  });
  return Object.assign(box, {
    refresh: later,
    toEnd: () => { box.scrollTop = count() * rowHeight; },
    show: (index) => {
      const top = index * rowHeight;
      if (top < box.scrollTop) box.scrollTop = top;
      else if (top + rowHeight > box.scrollTop + box.clientHeight) box.scrollTop = top + rowHeight - box.clientHeight;
    },
  });
}
