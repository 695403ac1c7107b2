import { emptyState } from '../ui/parts.js';

export function mount(ctx) {
  ctx.title('Model');
  return emptyState({ title: 'This page is being written', text: 'The server works without it.' });
}
