import { emptyState } from '../ui/parts.js';

export function mount(ctx) {
	ctx.title('Not found');
	return emptyState({ title: 'There is no page at this address', text: 'The links lead to those that exist.' });
}
