import { emptyState } from '../ui/parts.js';

export function mount(ctx) {
  ctx.title('Requests');
  return emptyState({ title: 'This page is being written', text: 'The server works without it.' });
}
