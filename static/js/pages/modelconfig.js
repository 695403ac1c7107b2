// What the configuration says of a model after macros and defaults, with secrets masked by the server. Read-only.
import { h } from '../core/dom.js';
import { duration, num } from '../core/format.js';
import { api, apiUrl } from '../core/net.js';
import { href } from '../core/router.js';
import { computed, effect, signal, untracked } from '../core/signal.js';
import { card, codeBlock, copyButton, facts, inlineError, skeleton } from '../ui/parts.js';

export function configTab(ctx, model) {
  const { id, kind, peer, proxy } = model.peek();
  if (kind === 'peer') {
    return card('Configuration', {}, facts([['Peer', peer], ['Address', proxy]]),
      h('p', { class: 'muted' }, 'The rest is in the configuration of that peer.'));
  }
  const found = signal(null);
  const error = signal(null);
  const load = () => api(apiUrl('api', 'models', id), { signal: ctx.signal }).then((answer) => {
    found.set(answer);
    error.set(null);
  }, (failed) => { if (failed.name !== 'AbortError') error.set(failed); });
  // A start may follow a new configuration.
  const start = computed(() => model().generation);
  effect(() => {
    start();
    untracked(load);
  });
  return h('div', { class: 'stack' }, () => error() && inlineError(error(), load), () => {
    if (!found()) return !error() && skeleton(4);
    return untracked(() => parts(found()));
  });
}

function parts(one) {
  const { strip = [], set = {}, set_by_id: byId = {} } = one.filters || {};
  const code = (label, value) => [h('h3', null, label), codeBlock(value, { label })];
  const json = (label, value) => Object.keys(value || {}).length > 0 && code(label, JSON.stringify(value, null, 2));
  const seconds = (value, word = 'unknown') => (value ? duration(value * 1000) : word);
  return [
    card('Command', { actions: copyButton(() => JSON.stringify(one, null, 2), 'Copy all as JSON') },
      h('div', { class: 'stack' }, code('Start', one.cmd || 'none'), one.cmd_stop && code('Stop', one.cmd_stop),
        h('h3', null, 'Environment'), one.env.length
          ? h('p', { class: 'row' }, one.env.map((name) => h('code', null, name)),
            h('span', { class: 'muted' }, '(names only)'))
          : h('p', { class: 'muted' }, 'Nothing is added to that of the server.'))),
    card('Settings', {}, facts([
      ['Address', one.proxy], ['Health check', one.check_endpoint || 'none'],
      ['Time to become ready', seconds(one.health_check_timeout)],
      ['Unloaded when idle for', seconds(one.ttl, 'never')], ['Time to stop', seconds(one.unload_timeout)],
      ['Requests at once', one.concurrency ? num(one.concurrency) : 'any number'],
      ['Name sent to it', one.use_model_name || 'the one that was asked for'], ['Group', one.group || 'none'],
      ['Unlisted', one.unlisted ? 'yes' : 'no'], ['Other names', one.aliases.join(', ') || 'none'],
      ['Loading it now would unload', one.evicts.length ? one.evicts.map((other, i) => [i ? ', ' : '',
        h('a', { href: href('models', other) }, other)]) : 'nobody'],
    ])),
    card('Changes to requests', {}, h('div', { class: 'stack' },
      h('p', null, strip.length ? ['Removed: ', h('code', null, strip.join(', '))] : 'No parameter is removed.'),
      json('Set', set), json('Set by name', byId),
      !Object.keys(set).length && !Object.keys(byId).length && h('p', null, 'No parameter is set.'),
      json('Metadata', one.metadata))),
  ];
}
