// Copying, also on plain http.

/** True when the text is in the clipboard. */
export async function copyText(text) {
	try {
		await navigator.clipboard.writeText(text);
		return true;
	} catch {
		return copyOldWay(text);
	}
}

function copyOldWay(text) {
	const opener = document.activeElement;
	const area = Object.assign(document.createElement('textarea'), { value: text, className: 'vh' });
	// Nothing can be selected outside an open dialog.
	(document.querySelector('dialog[open]') || document.body).append(area);
	area.select();
	const isCopied = document.execCommand('copy');
	area.remove();
	opener.focus({ preventScroll: true });
	return isCopied;
}

/** `parts`: strings or blobs. */
export function download(name, parts, type = 'text/plain') {
	const href = URL.createObjectURL(new Blob([parts].flat(), { type }));
	Object.assign(document.createElement('a'), { href, download: name }).click();
	setTimeout(() => URL.revokeObjectURL(href), 10000);
}
