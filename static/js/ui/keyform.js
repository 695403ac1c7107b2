// Asks for the API key until one is right.
import { h } from '../core/dom.js';
import { api, isKeyRemembered, keyNeeded, setKey } from '../core/net.js';
import { signal } from '../core/signal.js';
import { openDialog } from './dialog.js';
import { sheet } from './pages.js';
import { button, field, switchBox } from './parts.js';

export async function openKeyForm() {
	await sheet('views');
	const error = signal('');
	const input = h('input', { type: 'password', autocomplete: 'current-password', autofocus: true, required: true });
	const remember = signal(isKeyRemembered());
	const submit = async (event) => {
		event.preventDefault();
		try {
			await api('api/version', { headers: { Authorization: `Bearer ${input.value}` } });
			setKey(input.value, remember.peek());
			dialog.close();
		} catch (failure) {
			error.set(failure.message);
			input.select();
		}
	};
	const dialog = openDialog({
		title: keyNeeded.peek().message ? 'The server wants an API key' : 'API key',
		onClose: () => keyNeeded.set(null),
		body: () => h('form', { class: 'stack', onsubmit: submit },
			field('API key', input, { error, hint: 'One of the apiKeys in the configuration' }),
			switchBox('Remember it after this tab is closed', remember),
			h('div', { class: 'row end' }, button('Use this key', { type: 'submit', kind: 'primary' }))),
	});
}
