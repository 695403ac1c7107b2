// The remembered look. A classic script, so that it runs before the first paint.
{
	let look = {};
	try {
		look = JSON.parse(localStorage.getItem('lsw')) || {};
	} catch { /* nothing remembered, or storage is blocked */ }
	const { dataset } = document.documentElement;
	for (const name of ['density', 'fontSize', 'motion']) dataset[name.toLowerCase()] = look[name] || '';
	dataset.theme = ['light', 'dark'].includes(look.theme) ? look.theme
		: matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
}
