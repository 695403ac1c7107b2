// Copying that also works on plain http, where browsers have no navigator.clipboard.

/** True when the text is in the clipboard. */
export async function copyText(text) {
  if (globalThis.isSecureContext && navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch { /* refused by a policy: the old way may still do */ }
  }
  return copyOldWay(text);
}

function copyOldWay(text) {
  const opener = document.activeElement;
  // Inside an open dialog everything else is inert and cannot be selected.
  const box = document.querySelector('dialog[open]') || document.body;
  const area = document.createElement('textarea');
  area.value = text;
  area.className = 'offscreen';
  area.setAttribute('readonly', '');
  box.append(area);
  area.select();
  let ok = false;
  try {
    ok = document.execCommand('copy');
  } catch { /* then it is not copied, and the caller says so */ }
  area.remove();
  if (opener && opener.focus) opener.focus({ preventScroll: true });
  return ok;
}

/** Hands a file to the user. `parts` are strings or blobs. */
export function download(name, parts, type = 'text/plain') {
  const url = URL.createObjectURL(new Blob([].concat(parts), { type }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
