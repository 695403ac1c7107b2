// The only module that starts anything by being loaded.
import { startFeed } from './core/feed.js';
import { startKeys } from './core/keys.js';
import { keyNeeded } from './core/net.js';
import { startRouter } from './core/router.js';
import { watch } from './core/signal.js';
import { startModels } from './state/models.js';
import { startNotices } from './state/notices.js';
import { startPerf } from './state/perf.js';
import { startRequests } from './state/requests.js';
import { startLook } from './state/prefs.js';
import { startPages } from './ui/pages.js';
import { startShell } from './ui/shell.js';
import { toast } from './ui/toast.js';

let lastComplaint = '';
function complain(message) {
	if (!message || message === lastComplaint || message.startsWith('ResizeObserver')) return;
	lastComplaint = message;
	toast(`Something in this page failed: ${message}`, { kind: 'error' });
}
addEventListener('error', (event) => complain(event.message));
addEventListener('unhandledrejection', (event) => {
	if (event.reason?.name === 'AbortError') event.preventDefault();
	else complain(String(event.reason?.message));
});

for (const start of [startRouter, startLook, startModels, startRequests, startPerf, startNotices, startFeed, startKeys,
	startShell, startPages]) start();
watch(() => { if (keyNeeded()) import('./ui/keyform.js').then((form) => form.openKeyForm()); });
