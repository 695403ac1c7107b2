// One Hub for all tabs of this browser.
import { Hub } from './hub.js';

const hub = new Hub();
onconnect = ({ ports }) => hub.attach(ports[0]);
