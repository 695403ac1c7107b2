// Asks for the API key until one is right.
import { h } from '../core/dom.js';
import { api, apiKey, isKeyRemembered, keyNeeded, setKey } from '../core/net.js';
import { signal } from '../core/signal.js';
import { openDialog } from './dialog.js';
import { sheet } from './pages.js';
import { button, field } from './parts.js';

let isOpen = false;

export async function openKeyForm() {
	if (isOpen) return;
	isOpen = true;
	await sheet('views');
	const error = signal(apiKey.peek() && keyNeeded.peek().message);
	const isBusy = signal(false);
	const input = h('input', { type: 'password', autocomplete: 'current-password', autofocus: true, required: true });
	const remember = h('input', { type: 'checkbox', checked: isKeyRemembered() });
	const submit = async (event) => {
		event.preventDefault();
		isBusy.set(true);
		try {
			await api('api/version', { headers: { Authorization: `Bearer ${input.value}` }, anonymous: true });
			setKey(input.value, remember.checked);
			dialog.close();
		} catch (failure) {
			error.set(failure.message);
			input.select();
		} finally {
			isBusy.set(false);
		}
	};
	const dialog = openDialog({
		title: 'The server wants an API key',
		onClose: () => { isOpen = false; },
		body: () => h('form', { class: 'stack', onsubmit: submit },
			field('API key', input, { error, hint: 'One of the keys under apiKeys in the configuration of llamaswap.' }),
			h('label', { class: 'row' }, remember, h('span', { class: 'grow' },
				'Remember in this browser (otherwise until the tab is closed)')),
			h('div', { class: 'row end' }, button('Later', { kind: 'quiet', onclick: () => dialog.close() }),
				button(() => (isBusy() ? 'Checking' : 'Use this key'), { type: 'submit', kind: 'primary', disabled: isBusy }))),
	});
}
