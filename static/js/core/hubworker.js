// The SharedWorker: one Hub for all tabs of this browser.
import { Hub } from './hub.js';

const hub = new Hub();
onconnect = (event) => hub.attach(event.ports[0]);
addEventListener('online', () => hub.wake());
